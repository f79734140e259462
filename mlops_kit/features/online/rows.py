"""A table's row as bytes: every version of it that may still be asked for.

    check sum (CRC-32 of all that follows), format, flags, fields, versions, bytes of texts
    for each version, oldest first: since when it holds, which fields have a value (a bit each), a word per field
    the texts, which a word points into: first byte << 32 | bytes

All of it is little-endian. Words and times are 64 bits wide, so that a batch of rows becomes one array.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlops_kit.errors import StoreError
from mlops_kit.features.definition.feature_set import Field
from mlops_kit.schema import Array

FORMAT: Final = 1
HAS_OLDER: Final = 1
"""A flag: there were older versions, which are not kept."""

ALWAYS: Final = -(2**63)
"""Since when a row holds whose table has no time."""

_HEADER = struct.Struct("<IBBHII")
_WORD = 8


@dataclass(frozen=True, slots=True)
class Versions:
    """Rows of a table, sorted by key and time: those of key k are from starts[k] to starts[k + 1].

    `words` and `is_valid` have shape (rows, fields); a text's word means nothing, and its text is in `texts`, by
    the field's place. `has_older` has shape (keys,).
    """

    starts: Array
    valid_from: Array
    words: Array
    is_valid: Array
    texts: dict[int, Array]
    has_older: Array


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that hold at the times asked for: `words` and `is_valid` of shape (keys, fields), `texts` by the
    field's place. `is_found` and `is_too_old`, which says that there was an older version, have shape (keys,).
    """

    words: Array
    is_valid: Array
    texts: dict[int, Array]
    valid_from: Array
    is_found: Array
    is_too_old: Array


class RowCodec:
    """Rows with these fields to bytes and back."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self._texts = [place for place, field in enumerate(fields) if field.kind == "string"]
        self._presence = (len(fields) + 63) // 64
        self._record = _WORD * (1 + self._presence + len(fields))
        self._nothing = bytes(self._record)
        form = [FORMAT, [(field.name, field.kind) for field in fields]]
        self.digest = hashlib.sha256(json.dumps(form).encode()).hexdigest()[:16]
        """Names the form of the bytes."""

    def encode(self, versions: Versions) -> Iterator[bytes]:
        """The value of each key."""
        words, heaps = self._placed(versions)
        bits = np.zeros((len(words), _WORD * self._presence), np.uint8)
        packed = np.packbits(versions.is_valid, axis=1, bitorder="little")
        bits[:, : packed.shape[1]] = packed
        matrix = np.column_stack([versions.valid_from, bits.view(np.int64), words])
        records = memoryview(np.ascontiguousarray(matrix, "<i8").tobytes())
        fields, size, pack, crc32 = len(self.fields), self._record, _HEADER.pack, zlib.crc32
        starts = versions.starts.tolist()
        for key, older in enumerate(versions.has_older.tolist()):
            first, end = starts[key], starts[key + 1]
            heap = heaps[key] if heaps else b""
            header = pack(0, FORMAT, HAS_OLDER if older else 0, fields, end - first, len(heap))[4:]
            body = b"".join((header, records[first * size : end * size], heap))
            yield crc32(body).to_bytes(4, "little") + body

    def decode(self, values: Sequence[bytes | None], ts: Array) -> Rows:
        """What each key has at its time; None is a key that the table has not. Raises StoreError for damage."""
        parts, has_older = [], []
        for data, at in zip(values, ts.tolist(), strict=True):
            if data is None:
                parts.append(self._nothing)
                has_older.append(False)
            else:
                flags, versions = self._check(data)
                first = _HEADER.size if versions == 1 else self._place(data, versions, at)
                parts.append(data[first : first + self._record])
                has_older.append(bool(flags & HAS_OLDER))
        matrix = np.frombuffer(b"".join(parts), "<i8").reshape(len(parts), self._record // _WORD)
        valid_from = matrix[:, 0]
        is_there = np.array([data is not None for data in values], bool)
        is_found = is_there & (valid_from <= ts)
        bits = np.ascontiguousarray(matrix[:, 1 : 1 + self._presence]).view(np.uint8)
        is_valid = np.unpackbits(bits, axis=1, bitorder="little", count=len(self.fields)).view(bool)
        rows = Rows(
            words=matrix[:, 1 + self._presence :],
            is_valid=is_valid & is_found[:, None],
            texts={},
            valid_from=valid_from,
            is_found=is_found,
            is_too_old=is_there & ~is_found & np.array(has_older, bool),
        )
        if self._texts:
            rows.texts.update(self._read_texts(values, rows))
        return rows

    def _placed(self, versions: Versions) -> tuple[Array, list[bytes]]:
        """The words, with those of texts pointing into the heap of their key; and the heaps, if there are any."""
        if not self._texts:
            return versions.words, []
        words, heaps = versions.words.copy(), []
        texts = [(place, versions.texts[place]) for place in self._texts]
        for first, end in zip(versions.starts[:-1].tolist(), versions.starts[1:].tolist(), strict=True):
            heap, size = [], 0
            for row in range(first, end):
                for place, column in texts:
                    text = column[row].encode() if versions.is_valid[row, place] else b""
                    words[row, place] = size << 32 | len(text)
                    heap.append(text)
                    size += len(text)
            heaps.append(b"".join(heap))
        return words, heaps

    def _check(self, data: bytes) -> tuple[int, int]:
        """Flags and the number of versions. Raises StoreError."""
        if len(data) >= _HEADER.size:
            check, form, flags, fields, versions, heap = _HEADER.unpack_from(data)
            size = _HEADER.size + versions * self._record + heap
            is_whole = fields == len(self.fields) and versions and len(data) == size
            if form == FORMAT and is_whole and zlib.crc32(memoryview(data)[4:]) == check:
                return flags, versions
        raise StoreError(
            "a row of a table in the store is damaged, or was written by another version of mlkit",
            "its check sum or its form is wrong",
            "mlkit features materialize writes it anew",
        )

    def _place(self, data: bytes, versions: int, at: int) -> int:
        """Where the newest version begins that holds at this time; the oldest if none does."""
        step = self._record // _WORD
        since = np.frombuffer(data, "<i8", versions * step, _HEADER.size)[::step]
        newest = max(int(np.searchsorted(since, at, "right")) - 1, 0)
        return _HEADER.size + newest * self._record

    def _read_texts(self, values: Sequence[bytes | None], rows: Rows) -> dict[int, Array]:
        found = {}
        for place in self._texts:
            column = np.full(len(values), None, object)
            for row in np.flatnonzero(rows.is_valid[:, place]).tolist():
                data = values[row] or b""
                word = int(rows.words[row, place])
                first = len(data) - _HEADER.unpack_from(data)[5] + (word >> 32)
                column[row] = data[first : first + (word & 0xFFFFFFFF)].decode()
            found[place] = column
        return found
