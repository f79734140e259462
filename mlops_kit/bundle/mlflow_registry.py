"""The MLflow registry: fetch what a URI names, register a bundle. Tracking and registry servers come from
the usual MLflow settings (MLFLOW_TRACKING_URI, …); without any, from a local SQLite file.
"""

import contextlib
import io
import json
import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from mlops_kit.errors import MissingExtraError, SourceError, UsageError

MODEL_NAME = re.compile(r"models:/([^/@]+)$")
ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)$")


def is_mlflow_uri(reference: str) -> bool:
    """Whether a BUNDLE or SOURCE argument is for MLflow to fetch.

    >>> is_mlflow_uri("models:/flights-eta@champion"), is_mlflow_uri("bundles/flights-eta")
    (True, False)
    """
    return reference.startswith(("models:/", "runs:/"))


def download(uri: str) -> "tempfile.TemporaryDirectory[str]":
    """Fetch the files behind a URI into a temporary directory. Raises UsageError if they are not there."""
    mlflow = _mlflow(f"reading {uri}")
    directory = tempfile.TemporaryDirectory(prefix="mlkit-")
    try:
        with _quiet():
            found = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=directory.name))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        directory.cleanup()
        raise _refusal(f"{uri}: cannot be fetched", error) from error
    if found.resolve() != Path(directory.name).resolve():
        _hoist(found, Path(directory.name))
    return directory


def resolve_alias(uri: str) -> str:
    """`models:/name@alias` → `models:/name/3`; other URIs as they are. Raises UsageError if there is none."""
    if (found := ALIAS.match(uri)) is None:
        return uri
    mlflow = _mlflow(f"reading {uri}")
    try:
        with _quiet():
            version = mlflow.MlflowClient().get_model_version_by_alias(found[1], found[2])
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise _refusal(f"{uri}: cannot be resolved", error) from error
    return f"models:/{found[1]}/{version.version}"


def register(directory: Path, uri: str, tags: dict[str, str]) -> str:
    """Log a bundle's files and register them as a new version; returns the version.

    `uri` is `models:/NAME`. Raises UsageError for another form, or if the registry refuses.
    """
    mlflow = check_register_uri(uri)
    name = uri.removeprefix("models:/")
    try:
        with _quiet():
            with mlflow.start_run(tags=tags) as run:
                mlflow.log_artifacts(str(directory), artifact_path="bundle")
            version = _register(mlflow, name, run.info.run_id, tags)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise _refusal(f"{uri}: the registry refused it", error) from error
    return str(version)


def check_register_uri(uri: str) -> Any:
    """Fail before a long export rather than after it. Returns MLflow. Raises UsageError."""
    if MODEL_NAME.match(uri) is None:
        raise UsageError(f"{uri}: not a place to register at", fix="give --register models:/NAME")
    return _mlflow("registering a model")


def model_files(directory: Path) -> list[str]:
    """The model files that MLmodel names, the framework's own flavours first. Raises SourceError."""
    path = directory / "MLmodel"
    if not path.is_file():
        raise SourceError(
            f"{directory}: it holds no MLmodel file", "it is no MLflow model", "give the model's own file"
        )
    yaml = import_module("yaml")
    try:
        flavors = yaml.safe_load(path.read_text())["flavors"]
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read", str(error).split("\n", 1)[0]) from error
    if not isinstance(flavors, dict) or not all(isinstance(flavor, dict) for flavor in flavors.values()):
        raise SourceError(f"{path}: its flavors are no mappings", fix="log the model again")
    own = [flavor for name, flavor in flavors.items() if name != "python_function"]
    keys = ("data", "model_data", "pickled_model", "model_path")
    names = [
        flavor[key] for flavor in (*own, flavors.get("python_function") or {}) for key in keys if flavor.get(key)
    ]
    return [str(name) for name in dict.fromkeys(names)]


def _register(mlflow: Any, name: str, run_id: str, tags: dict[str, str]) -> str:
    client = mlflow.MlflowClient()
    with contextlib.suppress(mlflow.exceptions.MlflowException):
        client.create_registered_model(name)
    artifact_uri = client.get_run(run_id).info.artifact_uri
    return str(client.create_model_version(name, f"{artifact_uri}/bundle", run_id, tags=tags).version)


def _mlflow(purpose: str) -> Any:
    try:
        with _quiet():
            return import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError("mlflow", "mlflow", purpose) from error


def _refusal(what: str, error: Exception) -> UsageError:
    text = str(error).split("\n", 1)[0]
    with contextlib.suppress(ValueError):
        text = json.loads(text).get("message", text)
    return UsageError(what, text, "check the name, and MLFLOW_TRACKING_URI")


def _hoist(found: Path, directory: Path) -> None:
    """MLflow may put the files into a folder of the artifact's name; move them up."""
    for path in found.iterdir() if found.is_dir() else ():
        path.rename(directory / path.name)


@contextlib.contextmanager
def _quiet() -> Any:
    """MLflow reports progress on stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
