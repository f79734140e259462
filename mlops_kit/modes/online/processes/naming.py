"""The names of models: given with them, or by their bundles."""

import os
from collections.abc import Iterable

from mlops_kit.bundle.files import read_limited
from mlops_kit.bundle.manifest import FILE_NAME, MAX_BYTES, parse_manifest
from mlops_kit.errors import UsageError
from mlops_kit.modes.online.processes.followed import Followed, follow

RESERVED = ("stats",)
"""`/v2/models/stats` tells of all models."""


def follow_all(words: Iterable[str]) -> dict[str, Followed]:
    """For BUNDLE arguments: `BUNDLE` where there is one, or `NAME=BUNDLE`. Each is fetched once.

    Raises UsageError for names that are missing, no names, or there twice, and what `follow` raises.
    """
    words = list(words)
    split = [_split(word) for word in words]
    names = [name for name, _ in split if name]
    if len(split) > 1 and (nameless := [text for name, text in split if not name]):
        why = "several models are told apart by name"
        raise UsageError(f"{nameless[0]}: which name?", why, "give NAME=BUNDLE")
    for name in names:
        _check(name)
        if names.count(name) > 1:
            raise UsageError(f"two models are called {name!r}", fix="give each a name of its own")
    if nothing := next((word for word, (_, text) in zip(words, split, strict=True) if not text), None):
        raise UsageError(f"{nothing!r} names no bundle", fix="give it as NAME=BUNDLE")
    found = [follow(text) for _, text in split]
    return dict(zip(names or [_name_of(found[0])], found, strict=True))


def _split(word: str) -> tuple[str, str]:
    """Name and reference. An `=` may be part of a path or a URI, too."""
    name, equals, reference = word.partition("=")
    if not equals or not name or "/" in name or os.path.lexists(word):
        return "", word
    return name, reference


def _name_of(model: Followed) -> str:
    """The registry's, or the one in its manifest. Whether the rest of the bundle is sound, workers find out."""
    name = model.reference.name or parse_manifest(read_limited(model.files.directory, FILE_NAME, MAX_BYTES)).name
    _check(name)
    return name


def _check(name: str) -> None:
    if not name or "/" in name:
        raise UsageError(f"{name!r} is no name", "it is part of paths", "give another one as NAME=BUNDLE")
    if name in RESERVED:
        why = f"/v2/models/{name} is a path of the server's own"
        raise UsageError(f"no model can be called {name!r}", why, "give it another name as NAME=BUNDLE")
