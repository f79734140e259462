"""Where a served bundle comes from, and whether there is another one by now."""

import os
import tempfile
from pathlib import Path

from mlops_kit.bundle import mlflow_registry
from mlops_kit.errors import UsageError


class PathReference:
    """A directory, an archive, or a link to one, such as `current`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def identify(self) -> str:
        """Changes when there is something new. Raises UsageError if nothing is there."""
        path = Path(os.path.realpath(self.text))
        try:
            found = (path / "manifest.json" if path.is_dir() else path).stat()
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"{self.text}: no such bundle", why, "mlkit export makes one") from error
        return f"{path}:{found.st_ino}:{found.st_mtime_ns}:{found.st_size}"

    def fetch(self) -> str:
        """A path that stays the same while links change."""
        return os.path.realpath(self.text)

    def keep(self, _path: str) -> None:
        """Nothing of it is ours to remove."""


class RegistryReference:
    """An MLflow URI: `models:/name@champion`, `models:/name/3`, `runs:/id/path`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._fetched: dict[str, tempfile.TemporaryDirectory[str]] = {}

    def identify(self) -> str:
        """The version behind an alias. Raises UsageError if the registry does not have it."""
        return mlflow_registry.resolve_alias(self.text)

    def fetch(self) -> str:
        """A folder with its files, which stays until another one is kept."""
        fetched = mlflow_registry.download(self.text)
        self._fetched[fetched.name] = fetched
        return fetched.name

    def keep(self, path: str) -> None:
        """Remove what was fetched besides."""
        for other in self._fetched.keys() - {path}:
            self._fetched.pop(other).cleanup()


Reference = PathReference | RegistryReference


def make_reference(text: str) -> Reference:
    """For a BUNDLE argument."""
    return RegistryReference(text) if mlflow_registry.is_mlflow_uri(text) else PathReference(text)


def below(root: str | None, path: str) -> str:
    """A path that a client gives, below `--model-root`. Raises UsageError if it is not, or if there is no root."""
    if root is None:
        raise UsageError("no path can be given", "the server was started without --model-root")
    found = Path(os.path.realpath(Path(root) / path))
    if not found.is_relative_to(os.path.realpath(root)):
        raise UsageError("the path is not below the model root", fix="give one relative to it")
    return str(found)
