"""Is this machine ready? Verdicts, each with what to do about it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Level = Literal["ok", "missing", "problem"]

EXTRAS = {
    "sklearn": ("scikit-learn", "skl2onnx", "pandas"),
    "lightgbm": ("lightgbm", "pandas"),
    "xgboost": ("xgboost", "pandas", "scikit-learn"),
    "catboost": ("catboost",),
    "torch": ("torch", "onnxscript"),
    "mlflow": ("mlflow",),
    "postgres": ("adbc-driver-postgresql",),
    "redis": ("redis",),
    "s3": ("s3fs",),
    "cassandra": ("cassandra-driver",),
    "spark": ("pyspark",),
    "features": ("numba",),
    "serve": (
        "grpcio", "grpcio-health-checking", "grpcio-reflection", "httptools", "jh2", "prometheus-client",
        "protobuf", "uvicorn", "uvloop",
    ),
}  # fmt: skip
"""The packages of each extra that mlkit itself imports."""

CORE = (
    "duckdb", "msgspec", "numpy", "onnx", "onnxruntime", "orjson", "polars", "pyarrow", "rich", "safetensors",
    "typer",
)  # fmt: skip
LEAST_FREE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at. `missing` is an option that is not installed; `problem` needs mending."""

    subject: str
    level: Level
    found: str
    fix: str = ""


def diagnose() -> list[Verdict]:
    """Look at everything that mlkit depends on. Changes nothing, and asks no network."""
    return [*_core(), *_extras(), *_conflicts(), *_machine()]


def _core() -> Iterator[Verdict]:
    python = ".".join(map(str, sys.version_info[:3]))
    is_new = sys.version_info >= (3, 11)
    yield Verdict("python", "ok" if is_new else "problem", python, "" if is_new else "use Python 3.11 or newer")
    for package in CORE:
        found = _version(package)
        if found is None:
            yield Verdict(package, "problem", "not installed", "pip install --force-reinstall mlops-kit")
        else:
            yield Verdict(package, "ok", found)


def _extras() -> Iterator[Verdict]:
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        if absent := [package for package, number in found.items() if number is None]:
            fix = f"pip install 'mlops-kit[{extra}]'"
            yield Verdict(f"extra {extra}", "missing", f"{', '.join(absent)} not installed", fix)
        else:
            yield Verdict(f"extra {extra}", "ok", ", ".join(f"{name} {number}" for name, number in found.items()))


def _conflicts() -> Iterator[Verdict]:
    protobuf = _version("protobuf")
    if protobuf is not None and int(protobuf.partition(".")[0]) >= 7 and _version("skl2onnx") is not None:
        yield Verdict(
            "protobuf", "problem", f"{protobuf}, with which skl2onnx fails", "pip install 'mlops-kit[sklearn]'"
        )


def _machine() -> Iterator[Verdict]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Verdict("processors", "ok", f"{cores} usable of {os.cpu_count()}")
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_FREE_BYTES
    found = f"{free / 1e9:.1f} GB free in {folder}"
    yield Verdict(
        "temporary folder", "ok" if enough else "problem", found, "" if enough else "free space, or set TMPDIR"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
