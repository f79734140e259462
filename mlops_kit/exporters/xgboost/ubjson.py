"""Is a UBJSON file whole? XGBoost reads beyond the end of one that is not, and takes the process with it.

Format: https://ubjson.org/type-reference/. Nothing is decoded; only the structure is walked.
"""

SIZES = {
    b"i": 1,
    b"U": 1,
    b"C": 1,
    b"I": 2,
    b"l": 4,
    b"d": 4,
    b"L": 8,
    b"D": 8,
    b"T": 0,
    b"F": 0,
    b"Z": 0,
    b"N": 0,
}
"""Bytes of a value behind its type's letter."""

INTEGERS = frozenset({b"i", b"U", b"I", b"l", b"L"})


def check_ubjson(data: bytes) -> None:
    r"""Raise ValueError if the data is no single whole UBJSON value.

    >>> check_ubjson(b'{i\x01a[$U#i\x03\x01\x02\x03}')
    >>> check_ubjson(b'{i\x01a[$U#i\x03\x01\x02')
    Traceback (most recent call last):
    ValueError: it ends in the middle
    """
    walk = _Walk(data)
    walk.skip_value(walk.take(1))
    while walk.open:
        walk.skip_item()
    if walk.place != len(data):
        raise ValueError("there is something behind its end")


class _Walk:
    """A place in the data, and the objects and arrays around it, each with the number of items still to come."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0
        self.open: list[tuple[bytes, int | None]] = []

    def take(self, count: int) -> bytes:
        end = self.place + count
        if count < 0 or end > len(self.data):
            raise ValueError("it ends in the middle")
        found = self.data[self.place : end]
        self.place = end
        return found

    def take_integer(self) -> int:
        letter = self.take(1)
        if letter not in INTEGERS:
            raise ValueError(f"a length is missing at byte {self.place}")
        return int.from_bytes(self.take(SIZES[letter]), "big", signed=letter != b"U")

    def skip_value(self, letter: bytes) -> None:
        if letter in (b"S", b"H"):
            self.take(self.take_integer())
        elif letter in (b"{", b"["):
            self._enter(letter)
        elif letter in SIZES:
            self.take(SIZES[letter])
        else:
            raise ValueError(f"there is no value at byte {self.place}")

    def skip_item(self) -> None:
        """Skip the next item of the innermost object or array, or leave it."""
        bracket, left = self.open.pop()
        if left == 0:
            return
        following = self.data[self.place : self.place + 1]
        if left is None and following == (b"}" if bracket == b"{" else b"]"):
            self.take(1)
            return
        self.open.append((bracket, None if left is None else left - 1))
        if bracket == b"{":
            self.take(self.take_integer())
        self.skip_value(self.take(1))

    def _enter(self, bracket: bytes) -> None:
        following = self.data[self.place : self.place + 1]
        if following == b"$":
            kind = self.take(2)[1:]
            if self.take(1) != b"#" or kind not in SIZES or bracket == b"{":
                raise ValueError(f"there is no array at byte {self.place}")
            self.take(self.take_integer() * SIZES[kind])
            return
        count = None
        if following == b"#":
            self.take(1)
            count = self.take_integer()
        self.open.append((bracket, count))
