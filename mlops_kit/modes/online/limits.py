"""What a server allows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_batch` is in rows, `queue` in requests per model, sizes are in bytes, also after decompression."""

    max_batch: int = 64
    max_delay_s: float = 0.0
    queue: int = 1024
    timeout_s: float = 1.0
    body_bytes: int = 16 * 2**20
    read_timeout_s: float = 10.0
    drain_s: float = 30.0
    stop_delay_s: float = 0.0
