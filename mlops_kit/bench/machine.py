"""The machine that a bench runs on, as far as it explains the numbers."""

import os
import platform
import resource
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlops_kit.bench.results import Machine

PACKAGES = ("mlops-kit", "onnxruntime", "numpy", "polars", "pyarrow", "uvloop", "httptools", "jh2", "redis")
CGROUP = Path("/sys/fs/cgroup")
"""Version 2, and its older form: https://docs.kernel.org/admin-guide/cgroup-v2.html."""

LIMITS = {
    "cpu (quota and period, µs)": ("cpu.max",),
    "cpu quota, µs": ("cpu/cpu.cfs_quota_us",),
    "memory, bytes": ("memory.max", "memory/memory.limit_in_bytes"),
}
NO_LIMITS = ("max", "-1", "9223372036854771712")
"""The last is what the older form says instead of nothing."""


def describe_machine() -> Machine:
    """As this process sees it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=_cpu(),
        cores=cores,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        limits={**dict(_cgroup_limits()), "open files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])},
        versions={"python": platform.python_version(), **dict(_versions())},
        load_average=os.getloadavg()[0],
    )


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _cgroup_limits() -> Iterator[tuple[str, str]]:
    for name, files in LIMITS.items():
        for file in files:
            path = CGROUP / file
            if path.exists() and not (text := path.read_text().strip()).startswith(NO_LIMITS):
                yield name, text


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
