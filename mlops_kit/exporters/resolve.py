"""Which framework's module exports a model: each has a folder here with an `exporter.py`, asked in order."""

from importlib import import_module
from pathlib import Path
from typing import cast

from mlops_kit.errors import SourceError
from mlops_kit.exporters.interface import Exporter

FRAMEWORKS = ("onnx_file", "lightgbm", "xgboost", "catboost", "torch", "sklearn")
"""The more particular first: an LGBMRegressor is a scikit-learn estimator, too."""

HEAD_BYTES = 4096


def exporters() -> list[Exporter]:
    """Every framework's module. None of them imports its framework before it is used."""
    return [cast("Exporter", import_module(f"mlops_kit.exporters.{name}.exporter")) for name in FRAMEWORKS]


def exporter_of(model: object) -> Exporter:
    """The module that exports this object. Raises SourceError if there is none."""
    for exporter in exporters():
        if exporter.recognises(model):
            return exporter
    kind = type(model)
    raise SourceError(
        f"mlkit cannot export a {kind.__module__}.{kind.__qualname__}",
        "it is no model of scikit-learn, LightGBM, XGBoost, CatBoost, PyTorch or ONNX",
        "name the fitted model itself, as in train.py:model",
    )


def exporter_of_file(path: Path) -> Exporter | None:
    """The module whose native format this file has, by content."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((exporter for exporter in exporters() if exporter.recognises_file(path, head)), None)
