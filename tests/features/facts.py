"""Random tables, and who asks for their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from hypothesis import strategies as st

from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import FeatureSet, Field, TableFeature, TableSource
from tests.features.histories import DEFAULTS, FIELDS, entities, keys, rows_of
from tests.features.oracle import Question, Row


@dataclass(frozen=True)
class TableCase:
    """A definition, the rows of its table in the order of its files, and who asks."""

    features: FeatureSet
    rows: Sequence[Row]
    questions: Sequence[Question]

    @property
    def table(self) -> TableSource:
        """The one that there is."""
        return self.features.tables[0]

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as they are written down."""
        schema = {part.column: DTYPES[part.kind] for part in self.table.key} | {
            name: DTYPES[kind] for name, kind in FIELDS.items()
        }
        return pl.DataFrame(self.rows, schema={**schema, "since": pl.Int64()}, orient="row")


@st.composite
def asked_tables(draw: st.DrawFn) -> TableCase:
    """A table with or without time: with it, some rows of a key hold since the same time; without it, no key has
    two rows.
    """
    key, has_time, times = draw(keys()), draw(st.booleans()), st.integers(-20, 20)
    known = draw(entities(key))
    fields = tuple(Field(name, kind) for name, kind in FIELDS.items())
    lookups = tuple(
        TableFeature(f"feature_{name}", "facts", name, kind, draw(st.sampled_from(DEFAULTS[kind])))
        for name, kind in FIELDS.items()
    )
    written = draw(st.lists(rows_of([part.column for part in key], known), max_size=12))
    since = draw(st.sampled_from([times, st.integers(0, 2)]))
    rows = [{**row, "since": draw(since | st.none())} for row in written]
    if not has_time:
        rows = list({tuple(row[part.column] for part in key): row for row in rows}.values())
    asking = draw(st.lists(rows_of([part.name for part in key], known), min_size=1, max_size=6))
    asked = [Question(row, draw(times)) for row in asking]
    source = TableSource("facts", key, fields, "", valid_from="since" if has_time else "")
    return TableCase(FeatureSet((), (source,), (), lookups), rows, asked)
