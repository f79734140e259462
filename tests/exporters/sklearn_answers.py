"""What scikit-learn answers and what the exported model answers, by the same names."""

from pathlib import Path
from typing import Any

import numpy as np

import mlops_kit
from mlops_kit.frames import columns_of, to_polars
from mlops_kit.schema import Columns


def own_answers(model: Any, rows: Any) -> Columns:
    """What scikit-learn itself answers, written down anew, by the names that mlkit promises."""
    if not hasattr(model, "predict"):
        made = model.transform(rows)
        made = np.asarray(made.toarray() if hasattr(made, "toarray") else made)
        return dict(enumerate(made.reshape(len(made), -1).T))  # type: ignore[arg-type]
    labels = np.asarray(model.predict(rows))
    if labels.ndim == 2 and labels.shape[1] > 1:
        return {f"prediction_{i}": labels[:, i] for i in range(labels.shape[1])}
    answers = {"prediction": labels.ravel()}
    if hasattr(model, "predict_proba"):
        names = getattr(model, "classes_", None)
        shares = model.predict_proba(rows)
        names = range(shares.shape[1]) if names is None else names.tolist()
        answers |= {f"probability_{name}": shares[:, i] for i, name in enumerate(names)}
    return answers


def exported_answers(model: Any, sample: Any, folder: Path, rows: Any = None) -> Columns:
    """What the exported model answers to the sample, or to other rows."""
    mlops_kit.export(model, sample=sample, out=folder / "bundle")
    return predict(folder, sample if rows is None else rows)


def predict(folder: Path, rows: Any) -> Columns:
    if isinstance(rows, np.ndarray):
        rows = {f"x{i}": rows[:, i] for i in range(rows.shape[1])}
    columns = rows if isinstance(rows, dict) else columns_of(to_polars(rows))[0]
    answers: Columns = mlops_kit.load(folder / "bundle").predict(columns)
    return answers


def assert_same(want: Columns, got: Columns, tolerance: float = 1e-9) -> None:
    """The same columns (by position, where the wanted ones have only numbers for names) with the same values."""
    if not all(isinstance(name, int) for name in want):
        assert list(want) == [name for name in got if name in want]
        got = {name: got[name] for name in want}
    assert len(want) == len(got)
    for expected, values in zip(want.values(), got.values(), strict=True):
        if expected.dtype.kind in "OUb":
            assert expected.astype(str).tolist() == values.astype(str).tolist()
        else:
            np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)
