"""The JSON document of a result: what `mlkit bench --json` writes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mlops_kit.bench.results import SCHEMA, BenchResult, Estimate
from mlops_kit.errors import UsageError

FIX = "give it what `mlkit bench BUNDLE --data ROWS --json FILE` has written"


class _Version(msgspec.Struct):
    schema: int


def encode_result(result: BenchResult) -> bytes:
    """Indented, with a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def read_result(path: str) -> BenchResult:
    """Of a file, or of stdin (-). Raises UsageError if it is none."""
    if path == "-":
        return decode_result(sys.stdin.buffer.read(), "stdin")
    try:
        return decode_result(Path(path).read_bytes(), path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read", error.strerror or "", FIX) from error


def read_results(path: str) -> list[BenchResult]:
    """Of one file, or of all *.json in a folder. Raises UsageError with the first that is none."""
    if not Path(path).is_dir():
        return [read_result(path)]
    files = sorted(Path(path).glob("*.json"))
    if not files:
        raise UsageError(f"{path}: there is no *.json in this folder", fix=FIX)
    return [read_result(str(file)) for file in files]


def decode_result(data: bytes, name: str) -> BenchResult:
    """`name` is what errors call it. Fields that are not known are left out: later versions may add some. Raises
    UsageError for anything else that is no result.
    """
    try:
        if (found := msgspec.json.decode(data, type=_Version).schema) != SCHEMA:
            why = f"its schema is {found}, and this version of mlkit reads {SCHEMA}"
            raise UsageError(f"{name}: cannot be read", why, "use the version of mlkit that has written it")
        result = msgspec.json.decode(data, type=BenchResult)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: is no result of a bench", str(error), FIX) from error
    if problem := next(_problems(result), ""):
        raise UsageError(f"{name}: is no result of a bench", problem, FIX)
    return result


def _problems(result: BenchResult) -> Iterator[str]:
    """What the types let through, and the arithmetic would not."""
    if result.machine.cores < 1 or result.price_per_hour < 0 or result.slo_s <= 0:
        yield "machine.cores, price_per_hour or slo_s is out of range"
    for measurement in result.measurements:
        where = f"{measurement.mode}, {measurement.scenario}"
        latency = measurement.latency
        if not _is_ordered(measurement.rate):
            yield f"{where}: its rate is no estimate"
        if latency is None:
            continue
        if len(latency.edges_s) != len(latency.counts) + 1 or min(latency.edges_s) <= 0:
            yield f"{where}: its histogram has no edges that fit"
        if not all(_is_ordered(each) for each in latency.percentiles.values()):
            yield f"{where}: a percentile is no estimate"


def _is_ordered(estimate: Estimate) -> bool:
    return bool(estimate.samples) and 0 <= estimate.low <= estimate.value <= estimate.high < float("inf")
