"""`mlkit features check`: are the vectors that were served those that history gives?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .. import console
from ..options import option
from .definition import DEFINITION, need_kernel, read_features

if TYPE_CHECKING:
    from mlops_kit.features.parity.check import FeatureParity

DIFFERENT = 1


def check(
    features: str = DEFINITION,
    log: Path = option(help="The folder that mlkit serve logs predictions in."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Compute every logged vector anew from history, and compare the bits.

    Values that a request brought itself, and defaults that were served because the store was away, are
    left out. Exits with 1 if a value differs.

    \b
    Example:
      mlkit features check bundles/eta --log predictions.log
    """
    need_kernel("check")
    from dataclasses import asdict

    from mlops_kit.features.offline.work import JoinReport
    from mlops_kit.features.parity.check import check_parity, read_log
    from mlops_kit.features.parity.heavy_keys import warn_of_heavy_keys

    definition = read_features(features)
    logged, others = read_log(log, definition)
    joined = JoinReport()
    found, first = check_parity(definition, logged, joined)
    if json:
        document = {"rows": len(logged), "others": others, "is_same": first is None, "first": first}
        console.print_json(_plain({**document, "features": [asdict(feature) for feature in found]}))
    else:
        _show(found, first, len(logged), others)
    for warning in (*joined.warnings, *warn_of_heavy_keys(definition)):
        console.note(warning)
    if first is not None:
        console.note("values differ, too, where history lacks events that were pushed: add them, and check again")
        raise typer.Exit(DIFFERENT)


def _show(found: "Sequence[FeatureParity]", first: "Mapping[str, Any] | None", rows: int, others: int) -> None:
    wrong = [feature for feature in found if not feature.is_same]
    compared = sum(feature.compared for feature in found)
    aside = f"; {others:,} rows are of other features" if others else ""
    console.print_line(f"{rows:,} vectors, {compared:,} values compared, {len(wrong)} features differ{aside}")
    for feature in wrong:
        counts = {"mismatch": feature.mismatch, "missing": feature.missing, "extra": feature.extra}
        console.print_line(f"{feature.name}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    if first:
        console.print_line("the first row that differs:")
        for name, value in first.items():
            console.print_line(f"  {name}: {value}")


def _plain(value: object) -> object:
    """As JSON has it: times as text."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
