import pytest

from mlops_kit.bench.report.markdown import render_markdown
from mlops_kit.bench.report.notes import QUICK, collect_notes
from mlops_kit.bench.report.rows import HEADS, cost_per_million, describe_parity
from mlops_kit.bench.results import Parity
from tests.bench.report.example import example
from tests.bench.results import machine, measured, result


def test_each_measurement_is_a_line_of_the_table() -> None:
    lines = [line for line in render_markdown(example()).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(example().measurements)
    assert {line.count("|") for line in lines} == {len(HEADS) + 1}


def test_names_cannot_break_the_table() -> None:
    text = render_markdown(result(measured("a|b\n<i>", "server", 5.0)))
    assert "| a\\|b \\<i\\> | server |" in text


def test_a_million_costs_the_machine_time_that_it_takes() -> None:
    # 0.36 an hour is 0.0001 a second, and a million rows take 2,000 s.
    assert cost_per_million(measured("batch", "offline", 500), 0.36) == pytest.approx(0.2)
    assert cost_per_million(measured("online-rest", "single-stream", 500), 0.36) is None
    assert cost_per_million(measured("online-rest", "server", 0), 0.36) is None


def test_what_limits_the_claims_is_said_once_with_all_that_it_is_about() -> None:
    few, errors = ("no p99",), {"timeout": 3, "HTTP 429": 1}
    found = result(
        measured("batch", "offline", 5.0, start_s=1.234),
        measured("online-rest", "server", 5.0, notes=few, errors=errors, client_cpu=0.4, client_limit=31_000.0),
        measured("online-grpc", "server", 5.0, notes=few, errors=errors, client_cpu=0.5, client_limit=21_000.0),
        is_quick=True,
        machine=machine(load_average=0.31),
    )
    assert collect_notes(found) == [
        QUICK,
        "the machine was busy with something else before: a load of 0.3",
        "no p99 (online-rest, server; online-grpc, server)",
        "requests failed: HTTP 429, timeout (online-rest, server; online-grpc, server)",
        "starting a command, however many rows it has, is not in its rate: 1.23 s (batch, offline)",
        "the load client used at most 50 % of its core; where nothing is to be done it reaches "
        "31,000 requests/s (online-rest), 21,000 requests/s (online-grpc)",
    ]
    assert render_markdown(found).count(QUICK) == 1


def test_parity_is_told_in_words() -> None:
    assert describe_parity(result(parity=Parity(9, ("batch", "lookup"), {"batch": 0}, ""))) == (
        "Both modes answer as the model does, bit for bit, for 9 rows."
    )
    assert "2 of batch differ" in describe_parity(result(parity=Parity(9, ("batch",), {"batch": 2}, "row 1")))
