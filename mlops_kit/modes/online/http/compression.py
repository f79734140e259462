"""Answers are compressed for who asks, where it is worth it."""

import asyncio
import zlib
from dataclasses import replace

from mlops_kit.modes.online.codings import CODINGS
from mlops_kit.modes.online.http.messages import Response, Scope, header

WORTH_BYTES = 1400
"""Less fits into one packet, and most clients ask for compression whatever they are answered."""

LOOP_BYTES = 32768
"""Larger ones are compressed in a thread."""

LEVEL = 1


async def compressed(response: Response, scope: Scope) -> Response:
    """The answer in a coding that the client takes, or as it is."""
    coding = _accepted(header(scope, b"accept-encoding"))
    if coding is None:
        return response
    if len(response.body) > LOOP_BYTES:
        body = await asyncio.to_thread(_compress, response.body, coding)
    else:
        body = _compress(response.body, coding)
    headers = (*response.headers, (b"content-encoding", coding), (b"vary", b"accept-encoding"))
    return replace(response, body=body, headers=headers)


def _accepted(header_value: bytes) -> bytes | None:
    """The first that is known in Accept-Encoding; one with a quality of 0 is refused."""
    for part in header_value.lower().split(b","):
        coding, _, quality = part.partition(b";")
        is_refused = quality.replace(b" ", b"").rstrip(b"0") in (b"q=", b"q=0.")
        if coding.strip() in CODINGS and not is_refused:
            return coding.strip()
    return None


def _compress(body: bytes, coding: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, wbits=CODINGS[coding])
    return compressor.compress(body) + compressor.flush()
