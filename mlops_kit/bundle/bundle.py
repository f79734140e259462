"""Open a bundle: read the manifest, check every file, audit the graph. Only then may a runtime see it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from mlops_kit.bundle import graph as graphs
from mlops_kit.bundle.files import check_file, read_limited
from mlops_kit.bundle.manifest import FILE_NAME as MANIFEST
from mlops_kit.bundle.manifest import MAX_BYTES as MAX_MANIFEST_BYTES
from mlops_kit.bundle.manifest import Manifest, digest_of, parse_manifest
from mlops_kit.errors import UsageError

if TYPE_CHECKING:
    from mlops_kit.features.definition.feature_set import FeatureSet

FEATURES = "features.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle. `directory` has no symbolic link in it, so a later switch of `current` does not mix
    two versions; `owner` keeps an unpacked archive's temporary directory alive. Each of the `features`, if there
    are any, is a column of the model.
    """

    directory: Path
    manifest: Manifest = field(repr=False)
    digest: str
    owner: object = field(default=None, repr=False)
    features: "FeatureSet | None" = field(default=None, repr=False)

    @property
    def model_path(self) -> Path:
        """Path of model.onnx, for the runtime."""
        return self.directory / graphs.FILE_NAME


def open_bundle(directory: Path, owner: object = None) -> Bundle:
    """Check a bundle directory and return it. Raises BundleError with the file and the reason,
    UsageError if it is none.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise UsageError(f"{directory}: no such bundle", "there is no such directory", "mlkit export makes one")
    if not os.path.lexists(root / MANIFEST):
        raise UsageError(f"{directory}: not a bundle", f"it has no {MANIFEST}", "mlkit export makes one")
    data = read_limited(root, MANIFEST, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data)
    for entry in manifest.files:
        check_file(root, entry)
    graphs.check_graph(read_graph(root), {entry.name: entry.size for entry in manifest.files})
    return Bundle(root, manifest, digest_of(data), owner, _features(root, manifest))


def _features(root: Path, manifest: Manifest) -> "FeatureSet | None":
    """Most bundles have none, and Polars, with which conditions are evaluated, takes longer to import than a
    bundle to open; once it is there, Ctrl-C does not end a process that reads its stdin.
    """
    if all(entry.name != FEATURES for entry in manifest.files):
        return None
    from mlops_kit.bundle.features import read_features

    return read_features(root, manifest)


def read_graph(directory: Path) -> onnx.ModelProto:
    """The graph of a bundle, without its external data."""
    return graphs.parse_graph(read_limited(directory, graphs.FILE_NAME, graphs.MAX_BYTES))
