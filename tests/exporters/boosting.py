"""What the tests of LightGBM, XGBoost and CatBoost share: rows, exporting them, and asking in another process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import mlops_kit
from mlops_kit.bundle.bundle import Bundle
from mlops_kit.exporters.resolve import exporter_of_file
from mlops_kit.schema import Array, Columns

RANDOM = np.random.default_rng(0)
ROOT = Path(__file__).parents[2]
ROWS = 600
MATRIX = RANDOM.normal(size=(ROWS, 4))
"""Four numbers, of which the second is missing now and then and the last is an integer up to 1e8."""
MATRIX[RANDOM.random(ROWS) < 0.2, 1] = np.nan
MATRIX[:, 3] = RANDOM.integers(0, 10**8, ROWS)
SCORE = MATRIX[:, 0] + np.nan_to_num(MATRIX[:, 1]) * MATRIX[:, 2] + MATRIX[:, 3] / 1e8
LEVEL = np.digitize(SCORE, [0.0, 1.0])
"""Three classes."""

CONVERT = """
import sys
from pathlib import Path
from tests.exporters.boosting import convert_here
print(convert_here(Path(sys.argv[1])))
"""


def columns(matrix: Array = MATRIX) -> dict[str, Array]:
    """A matrix as columns x0, x1, …"""
    return {f"x{index}": np.ascontiguousarray(matrix[:, index]) for index in range(matrix.shape[1])}


def export(model: Any, sample: Any, folder: Path) -> Bundle:
    """Export, which compares with the original itself; no label may flip."""
    bundle = mlops_kit.export(model, sample=sample, out=folder / "bundle").bundle
    assert bundle.manifest.parity.flipped_labels == 0
    return bundle


def predict(bundle: Bundle, rows: Columns) -> dict[str, Array]:
    """The exported model's answers."""
    return mlops_kit.load(bundle.directory).predict(rows)


def probabilities(answers: Columns, labels: Any) -> Array:
    """The probability columns side by side, in the order of the labels."""
    return np.stack([answers[f"probability_{label}"] for label in labels], axis=1)


def convert_here(path: Path) -> str:
    """The digest of the graph of a model file."""
    exporter = exporter_of_file(path)
    assert exporter is not None
    conversion = next(exporter.adapt(exporter.read(path), None).conversions())
    return hashlib.sha256(conversion.graph.SerializeToString()).hexdigest()


def convert_in_process(path: Path, hash_seed: int) -> str:
    """The same, asked of another process."""
    command = [sys.executable, "-c", CONVERT, str(path)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
