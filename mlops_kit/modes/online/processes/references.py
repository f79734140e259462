"""Where a served bundle comes from, and whether there is another one by now."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.bundle import mlflow_registry
from mlops_kit.bundle.files import read_limited
from mlops_kit.bundle.locate import Located, locate_bundle
from mlops_kit.bundle.manifest import FILE_NAME as MANIFEST
from mlops_kit.bundle.manifest import MAX_BYTES, parse_manifest
from mlops_kit.errors import BundleError, UsageError

REGISTERED = re.compile("models:/([^/@]+)[/@]")


@dataclass(frozen=True, slots=True)
class PathReference:
    """A directory, an archive, or a link to one, such as `current`."""

    text: str
    is_fixed = False

    @property
    def name(self) -> str:
        """None of its own."""
        return ""

    def identify(self) -> str:
        """Changes when there is something new, and while that is copied. Raises UsageError if nothing is there."""
        path = Path(os.path.realpath(self.text))
        try:
            first, *others = _parts(path)
            stamps = [_stamp(first), *(_stamp(part) if os.path.lexists(part) else "" for part in others)]
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"{self.text}: no such bundle", why, "mlkit export makes one") from error
        return f"{path}:{stamps}"

    def fetch(self) -> Located:
        """A directory that stays the same while links change. Raises what locate_bundle does."""
        return locate_bundle(os.path.realpath(self.text))


@dataclass(frozen=True, slots=True)
class RegistryReference:
    """An MLflow URI: `models:/name@champion`, `models:/name/3`, `runs:/id/path`."""

    text: str

    @property
    def name(self) -> str:
        """That of the registered model; none for files of a run."""
        found = REGISTERED.match(self.text)
        return found[1] if found else ""

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same for ever."""
        return mlflow_registry.ALIAS.match(self.text) is None

    def identify(self) -> str:
        """The version behind an alias. Raises UsageError if the registry does not have it."""
        return mlflow_registry.resolve_alias(self.text)

    def fetch(self) -> Located:
        """Its files. Raises UsageError if they are not there."""
        return locate_bundle(self.text)


Reference = PathReference | RegistryReference


def make_reference(text: str) -> Reference:
    """For a BUNDLE argument."""
    return RegistryReference(text) if mlflow_registry.is_mlflow_uri(text) else PathReference(text)


def fetch_below(root: str | None, path: str) -> Located:
    """What a client names, below `--model-root`. Raises UsageError, without the path, if that is no bundle."""
    if root is None:
        raise UsageError("no path can be given", "the server was started without --model-root")
    found = Path(os.path.realpath(Path(root) / path))
    if not found.is_relative_to(os.path.realpath(root)):
        raise UsageError("the path is not below the model root", fix="give one relative to it")
    reference = PathReference(str(found))
    try:
        reference.identify()
        return reference.fetch()
    except UsageError as error:
        fix = "give that of a bundle, relative to the model root"
        raise UsageError("the path leads to no bundle", fix=fix) from error


def _parts(path: Path) -> list[Path]:
    """The files that make a bundle what it is: the manifest, and as far as it can be read yet, what it names."""
    if not path.is_dir():
        return [path]
    try:
        manifest = parse_manifest(read_limited(path, MANIFEST, MAX_BYTES))
    except BundleError:
        return [path / MANIFEST]
    return [path / MANIFEST, *(path / entry.name for entry in manifest.files)]


def _stamp(path: Path) -> str:
    """What changes with a file. The time is that of its inode, which those who copy cannot set back."""
    found = path.lstat()
    return f"{found.st_ino}:{found.st_size}:{found.st_ctime_ns}"
