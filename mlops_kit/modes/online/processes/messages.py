"""What the supervisor and a worker tell each other: one JSON document a line, over a socket that both inherit."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from mlops_kit.modes.facts import Facts
from mlops_kit.modes.online.job import ServeJob

MOST_BYTES = 2**20


class Message(msgspec.Struct, frozen=True, tag=True):
    """Anything that is told."""


class Start(Message, frozen=True):
    """To a worker: what to be. A `is_replacement` takes no connections before it is told to Open."""

    job: ServeJob
    models: Mapping[str, str]
    slot: int
    is_replacement: bool


class Open(Message, frozen=True):
    """To a worker that replaces another one: its models are those of the others, and it may take connections."""


class Prepare(Message, frozen=True):
    """To a worker: load this beside what answers, check it, and answer with Prepared.

    If it `is_forced`, it may have another signature.
    """

    name: str
    path: str
    is_forced: bool = False


class Switch(Message, frozen=True):
    """To a worker: let what was prepared answer, or forget it, because another worker refused it."""

    name: str
    is_taken: bool
    refusal: str = ""


class Stop(Message, frozen=True):
    """To a worker: go on for `delay_s`, but be not ready; then answer what has begun, for `drain_s` at most.

    Said again, it means that there is no more time.
    """

    drain_s: float
    delay_s: float = 0.0


class Ready(Message, frozen=True):
    """From a worker: all models are loaded. `digests` are those of their bundles, by name."""

    digests: Mapping[str, str]


class Prepared(Message, frozen=True):
    """From a worker: it is loaded and gives its golden answers, or `refusal` says why it does not answer."""

    name: str
    digest: str = ""
    refusal: Facts | None = None


class Refused(Message, frozen=True):
    """From a worker that ends: it cannot start, and why."""

    facts: Facts


class LoadAsked(Message, frozen=True):
    """From a worker: a client asks for a model to be loaded anew, from elsewhere if `path` is given."""

    ticket: int
    name: str
    path: str | None
    is_forced: bool = False


class LoadDone(Message, frozen=True):
    """To a worker: what became of it."""

    ticket: int
    digest: str = ""
    refusal: Facts | None = None


AnyMessage = Start | Open | Prepare | Switch | Stop | Ready | Prepared | Refused | LoadAsked | LoadDone

_ENCODER = msgspec.json.Encoder(enc_hook=str)
_DECODER: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(
    AnyMessage, dec_hook=lambda _kind, text: Path(text)
)


class Channel:
    """One end of the conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def over(end: socket.socket) -> "Channel":
        """Speak over a connected socket."""
        return Channel(*await asyncio.open_connection(sock=end, limit=MOST_BYTES))

    def send(self, message: AnyMessage) -> None:
        """Without waiting; to nobody, if the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(_ENCODER.encode(message) + b"\n")

    async def receive(self) -> AsyncIterator[AnyMessage]:
        """Messages until the other end is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):  # ValueError: a line beyond MOST_BYTES
                return
            if not line.endswith(b"\n"):  # the end, perhaps of a process that was killed in the middle of a line
                return
            yield _DECODER.decode(line)

    async def close(self) -> None:
        """Say no more, once what was said is on its way."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
