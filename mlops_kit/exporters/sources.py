"""SOURCE, as the command line names it, becomes a model in memory: a file, an importable object, an MLflow URI."""

import contextlib
import importlib
import importlib.util
import pickle
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from mlops_kit.bundle import mlflow_registry
from mlops_kit.errors import MissingExtraError, MlkitError, SourceError, UntrustedPickleError, suggestion
from mlops_kit.exporters.resolve import HEAD_BYTES, exporter_of_file

COMPRESSIONS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"]\x00\x00", b"\x04\x22\x4d\x18")
"""What joblib may wrap a pickle in: gzip, bzip2, xz, lzma, lz4. (zlib has no fixed beginning.)"""


def read_source(source: str | Path, trust_pickle: bool = False) -> object:
    """The model that `source` names.

    - a file: ONNX, a framework's native format (by content), or with `trust_pickle` a pickle or joblib file;
    - `package.module:attribute` or `path/to/train.py:attribute`, which is imported, hence executed;
    - `runs:/…` or `models:/…`.

    Raises SourceError; UntrustedPickleError for a pickle without consent.
    """
    text = str(source)
    if mlflow_registry.is_mlflow_uri(text):
        with mlflow_registry.download(text) as directory:
            return _read_mlflow_model(Path(directory), trust_pickle)
    path = Path(source)
    if path.is_dir():
        return _read_mlflow_model(path, trust_pickle)
    if path.is_file():
        return _read_file(path, trust_pickle)
    module, colon, attribute = text.rpartition(":")
    if colon and attribute.isidentifier():
        return _import_object(module, attribute)
    raise SourceError(f"{text}: no such file", "and it is not of the form module:attribute", "check the path")


def _read_file(path: Path, trust_pickle: bool) -> object:
    exporter = exporter_of_file(path)
    if exporter is not None:
        return exporter.read(path)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if path.suffix == ".py":
        raise SourceError(f"{path}: which of its variables is the model", fix=f"name it, as in {path}:model")
    if not _looks_like_pickle(head):
        raise SourceError(
            f"{path}: not a model file that mlkit knows",
            "its content is no ONNX, LightGBM, XGBoost, CatBoost, exported PyTorch program or pickle",
            "give the model's own file, or an importable object such as train.py:model",
        )
    if not trust_pickle:
        raise UntrustedPickleError(str(path))
    return _unpickle(path)


def _looks_like_pickle(head: bytes) -> bool:
    if head.startswith(COMPRESSIONS):
        return True
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return True
    if head[:1] == b"\x78":
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj().decompress(head, 1) == b"\x80"
    # A torch.save file is a ZIP archive with a pickle inside.
    return head.startswith(b"PK\x03\x04") and b"data.pkl" in head


def _unpickle(path: Path) -> object:
    try:
        import joblib
    except ImportError as error:
        raise MissingExtraError("joblib", "sklearn", f"reading {path}") from error
    sys.path.insert(0, str(path.absolute().parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return _torch_load(path) if zipfile.is_zipfile(path) else joblib.load(path)
    except MlkitError:
        raise
    except (ImportError, AttributeError) as error:
        raise SourceError(
            f"{path}: it refers to code that is not here",
            str(error),
            "install the packages that it was saved with",
        ) from error
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        OSError,
        zlib.error,
    ) as error:
        raise SourceError(f"{path}: the pickle is damaged", str(error), "save the model again") from error
    finally:
        sys.path.pop(0)


def _torch_load(path: Path) -> object:
    """torch.save writes a ZIP archive with a pickle inside, which only torch reads."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", f"reading {path}") from error
    return torch.load(path, map_location="cpu", weights_only=False)


def _import_object(module_name: str, attribute: str) -> object:
    module = _import_file(Path(module_name)) if module_name.endswith(".py") else _import_module(module_name)
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        hint = suggestion([attribute], names) or f"put the fitted model into a variable named {attribute!r}"
        raise SourceError(f"{module_name} has no {attribute!r}", fix=hint)
    return getattr(module, attribute)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SourceError(f"{path}: no such file", fix="check the path before the colon")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.absolute().parent))
    loader = spec.loader

    def execute() -> ModuleType:
        loader.exec_module(module)
        return module

    return _run(execute, str(path))


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise SourceError(
            f"{name}: no such module", "nor is it a file", "check the name, or give path/to/file.py:name"
        )
    return _run(lambda: importlib.import_module(name), name)


def _run(load: Callable[[], ModuleType], name: str) -> ModuleType:
    """Run the user's code. What it prints goes to stderr, because stdout carries mlkit's own result."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return load()
    except MlkitError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise SourceError(f"{name} failed while it was imported", line, f"run it alone: python {name}") from error


def _read_mlflow_model(directory: Path, trust_pickle: bool) -> object:
    """The model file inside of an MLflow model's directory, as its MLmodel names it."""
    for name in mlflow_registry.model_files(directory):
        path = directory / name
        if path.is_file():
            return _read_file(path, trust_pickle)
        if path.is_dir():
            inner = [file for file in sorted(path.iterdir()) if file.suffix in {".onnx", ".pt2"}]
            if inner:
                return _read_file(inner[0], trust_pickle)
    raise SourceError(
        f"{directory}: it holds no model that mlkit can read",
        "MLmodel names no file of a flavour that mlkit exports",
        "log the model with its framework's own flavour (mlflow.sklearn, mlflow.lightgbm, …)",
    )
