"""Who may ask: keys from files, compared in a time that does not depend on what is in them."""

import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.errors import ForbiddenError, UnauthorizedError, UsageError

LEAST_CHARACTERS = 16
KEY = re.compile(rb"[!-~]{%d,}" % LEAST_CHARACTERS)
"""What a header can carry without being encoded, and nobody guesses."""


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys of a server, never shown. Without any, everybody may predict, and nobody may administer.

    An admin key is also a key to everything else.
    """

    keys: tuple[bytes, ...] = ()
    admin_keys: tuple[bytes, ...] = ()

    @property
    def are_needed(self) -> bool:
        """Whether predictions need a key."""
        return bool(self.keys)

    def check(self, authorization: bytes) -> None:
        """`authorization` is the header's value, `Bearer KEY`. Raises UnauthorizedError."""
        if self.keys and not _is_one_of(authorization, self.keys + self.admin_keys):
            raise UnauthorizedError(has_key=bool(authorization))

    def check_admin(self, authorization: bytes) -> None:
        """Raises UnauthorizedError without a known key, ForbiddenError for one that is no admin key."""
        if not self.admin_keys:
            raise ForbiddenError("admin actions are off", "start the server with --admin-key-file to allow them")
        if _is_one_of(authorization, self.admin_keys):
            return
        if _is_one_of(authorization, self.keys):
            raise ForbiddenError("this key may not do that", "admin actions need an admin key")
        raise UnauthorizedError(has_key=bool(authorization))


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file: one in a line; `#` begins a comment. Raises UsageError, which never shows a key."""
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read", error.strerror or str(error), "check the path") from error
    keys = {number: line for number, line in enumerate(lines, 1) if line and not line.startswith(b"#")}
    for number, key in keys.items():
        if not KEY.fullmatch(key):
            why = f"keys have at least {LEAST_CHARACTERS} characters, of ASCII, without spaces"
            raise UsageError(f"{path}: line {number} is no key", why, "make one with: openssl rand -hex 32")
    if not keys:
        why = "it would let nobody in, or everybody"
        raise UsageError(f"{path}: there is no key in it", why, "make one with: openssl rand -hex 32")
    return tuple(keys.values())


def is_open_to_others(path: Path) -> bool:
    """Whether other users of this machine may read or write a file."""
    return bool(path.stat().st_mode & 0o077)


def _is_one_of(authorization: bytes, keys: tuple[bytes, ...]) -> bool:
    scheme, _, key = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        return False
    found = False
    for known in keys:  # all of them, whichever it is: the time says nothing
        found |= hmac.compare_digest(known, key)
    return found
