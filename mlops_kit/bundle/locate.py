"""Where a BUNDLE argument points: a directory, a `.mlkit` archive, or an MLflow URI."""

from dataclasses import dataclass
from pathlib import Path

from mlops_kit.bundle import archive, mlflow_registry
from mlops_kit.bundle.bundle import Bundle, open_bundle
from mlops_kit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Located:
    """A bundle's directory, not checked yet. One that was made for it alone is gone when `owner` is."""

    directory: Path
    owner: object = None


def locate_bundle(reference: str | Path) -> Located:
    """Find a bundle; fetch or unpack it where it is no directory yet.

    `reference` is a path, a `.mlkit` archive, or `models:/name@alias`, `models:/name/3`, `runs:/id/path`.
    Raises BundleError for a damaged archive, UsageError if there is no bundle.
    """
    text = str(reference)
    if mlflow_registry.is_mlflow_uri(text):
        fetched = mlflow_registry.download(text)
        return Located(Path(fetched.name), fetched)
    path = Path(reference)
    if path.is_dir():
        return Located(path)
    if not path.exists():
        raise UsageError(f"{text}: no such bundle", "there is no such file or directory", "mlkit export makes one")
    if path.suffix == archive.SUFFIX and path.is_file():
        unpacked = archive.unpack_archive(path)
        return Located(Path(unpacked.name), unpacked)
    raise UsageError(
        f"{text}: not a bundle", "it is neither a directory nor a .mlkit archive", "mlkit export makes one"
    )


def load_bundle(reference: str | Path) -> Bundle:
    """Find and check a bundle. Raises BundleError if it is damaged, UsageError if there is none."""
    located = locate_bundle(reference)
    return open_bundle(located.directory, located.owner)
