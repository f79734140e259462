"""How bodies and messages are compressed, at every door."""

import zlib

from mlops_kit.errors import InputError, TooLargeError, UnsupportedMediaTypeError

CODINGS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
"""A coding's name → zlib's name for it."""


def decompress(body: bytes, coding: bytes, most: int) -> bytes:
    """All of it. Raises UnsupportedMediaTypeError, InputError, and TooLargeError beyond `most` bytes."""
    if coding not in CODINGS:
        raise UnsupportedMediaTypeError(coding.decode("latin-1"), ("gzip", "deflate"))
    decompressor = zlib.decompressobj(CODINGS[coding])
    try:
        data = decompressor.decompress(body, most + 1)
    except zlib.error as error:
        raise InputError(f"the body is not in {coding.decode()}") from error
    if len(data) > most:
        raise TooLargeError(most)
    if not decompressor.eof:
        raise InputError(f"the body ends in the middle of its {coding.decode()}")
    if decompressor.unused_data:
        raise InputError(f"the body goes on after its {coding.decode()}")
    return data
