"""Where a BUNDLE argument points: a directory, a `.mlkit` archive, or an MLflow URI."""

from pathlib import Path

from mlops_kit.bundle import archive, mlflow_registry
from mlops_kit.bundle.bundle import Bundle, open_bundle
from mlops_kit.errors import UsageError


def load_bundle(reference: str | Path) -> Bundle:
    """Find and check a bundle.

    `reference` is a path, a `.mlkit` archive, or `models:/name@alias`, `models:/name/3`, `runs:/id/path`.
    Raises BundleError if it is damaged, UsageError if there is none.
    """
    text = str(reference)
    if mlflow_registry.is_mlflow_uri(text):
        directory = mlflow_registry.download(text)
        return open_bundle(Path(directory.name), owner=directory)
    path = Path(reference)
    if path.is_dir():
        return open_bundle(path)
    if not path.exists():
        raise UsageError(f"{text}: no such bundle", "there is no such file or directory", "mlkit export makes one")
    if path.suffix == archive.SUFFIX and path.is_file():
        unpacked = archive.unpack_archive(path)
        return open_bundle(Path(unpacked.name), owner=unpacked)
    raise UsageError(
        f"{text}: not a bundle", "it is neither a directory nor a .mlkit archive", "mlkit export makes one"
    )
