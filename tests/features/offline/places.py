"""Cases as files, and what a join makes of them."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from mlops_kit.features import join
from mlops_kit.features.definition.feature_set import FeatureSet
from tests.features.histories import Case, events_frame, spine_frame


@contextmanager
def written(case: Case, files: int = 1, group_rows: int = 7, dtype: Any = None) -> Iterator[FeatureSet]:
    """The definition, with its history in so many files of small row groups."""
    frame = events_frame(case.source, case.log)
    if dtype is not None:
        frame = frame.with_columns(pl.col("at").cast(dtype))
    with tempfile.TemporaryDirectory() as name:
        rows = -(-max(len(frame), 1) // files)
        for number in range(files):
            part = frame[number * rows : (number + 1) * rows]
            part.write_parquet(Path(name) / f"{number}.parquet", row_group_size=group_rows)
        yield replace(case.features, events=(replace(case.source, history=name),))


def joined(features: FeatureSet, case: Case, **options: Any) -> list[dict[str, Any]]:
    """What each question is answered, without the columns that it has itself."""
    spine = spine_frame(case.source.key, case.questions)
    limits = {"clicks": [question.limits.get("clicks") for question in case.questions]}
    if None not in limits["clicks"]:
        spine = spine.with_columns(pl.Series("limit", limits["clicks"], pl.Int64))
        options["applied"] = {"clicks": "limit"}
    with warnings.catch_warnings(action="ignore"):
        answers = join(features, spine, time="t", **options)
    assert answers.select(spine.columns).equals(spine)
    return list(answers.drop(spine.columns).iter_rows(named=True))


def write_history(folder: Path, rows: Sequence[dict[str, Any]] | pl.DataFrame) -> Path:
    """A history of one file."""
    folder.mkdir(exist_ok=True)
    pl.DataFrame(rows).write_parquet(folder / "history.parquet")
    return folder
