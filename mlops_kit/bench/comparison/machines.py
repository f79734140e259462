"""Whether two results can be compared at all."""

from collections.abc import Iterator

from mlops_kit.bench.results import Machine

FIELDS = ("cpu", "cores", "memory_bytes", "system")


def differences(one: Machine, other: Machine) -> Iterator[str]:
    """What of the machine differs, in words. Versions may: they are what many comparisons are about."""
    for name in FIELDS:
        before, after = getattr(one, name), getattr(other, name)
        if before != after:
            yield f"{name.removesuffix('_bytes')}: {before} and {after}"
    for name in sorted({*one.limits, *other.limits}):
        before, after = (machine.limits.get(name, "none") for machine in (one, other))
        if before != after:
            yield f"limit of {name}: {before} and {after}"


def version_changes(one: Machine, other: Machine) -> Iterator[str]:
    """Packages of other versions."""
    for name in sorted({*one.versions, *other.versions}):
        before, after = (machine.versions.get(name, "none") for machine in (one, other))
        if before != after:
            yield f"{name}: {before} and {after}"
