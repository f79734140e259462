"""How lines on stderr are written. In a file of its own, because the command line imports it for every command."""

import enum


class LogFormat(enum.StrEnum):
    """For people, or one JSON object a line."""

    text = "text"
    json = "json"
