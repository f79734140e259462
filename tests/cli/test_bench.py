"""What is told of results: `mlkit bench advise` and `mlkit bench compare`."""

import json
from pathlib import Path

import pytest

from mlops_kit.bench.report.document import encode_result
from mlops_kit.bench.results import BenchResult
from tests.bench.report.example import example
from tests.bench.results import machine, measured, result
from tests.cli.mlkit import mlkit

WHO = ("--entities", "1000000", "--active-share", "2%", "--requests-per-active", "3", "--refresh", "24h")


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return written(tmp_path / "bench.json", example())


def written(path: Path, found: BenchResult) -> Path:
    path.write_bytes(encode_result(found))
    return path


def test_advice_is_for_people_and_for_programs(bench: Path) -> None:
    told = mlkit("bench", "advise", bench, *WHO)
    assert told.returncode == 0
    assert told.stdout.startswith("Run online: predict when asked.")
    document = json.loads(mlkit("bench", "advise", bench, *WHO, "--json").stdout)
    assert document["choice"] == "online"
    assert document["schema"] == 1


def test_who_asks_may_come_from_the_environment(bench: Path) -> None:
    told = mlkit(
        "bench", "advise", "-", "--json", stdin=bench.read_bytes(),
        MLKIT_BENCH_ADVISE_ENTITIES="1000", MLKIT_BENCH_ADVISE_ACTIVE_SHARE="0.9",
    )  # fmt: skip
    assert json.loads(told.stdout)["choice"] == "batch"


@pytest.mark.parametrize(
    ("words", "environment", "choice"),
    [
        ((), {}, "batch"),
        ((), {"MLKIT_BENCH_ADVISE_ACTIVE_SHARE": "2%"}, "online"),
        (("--active-share", "2%"), {}, "online"),
    ],
)
def test_who_asks_may_come_from_the_folder_s_settings(
    bench: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], environment: dict[str, str], choice: str
) -> None:
    monkeypatch.chdir(bench.parent)
    settings = '[bench]\nslo-ms = 1\n[bench.advise]\nentities = 1000\nactive-share = "90%"\n'
    Path("mlkit.toml").write_text(settings)
    told = mlkit("bench", "advise", bench, *words, "--json", **environment)
    assert json.loads(told.stdout)["choice"] == choice, told.stderr


def test_the_report_has_the_advice(bench: Path, tmp_path: Path) -> None:
    mlkit("bench", "advise", bench, *WHO, "--report", tmp_path / "report.html")
    assert "Run online: predict when asked." in (tmp_path / "report.html").read_text()


def test_a_budget_that_nothing_meets_is_the_answer_no(bench: Path) -> None:
    told = mlkit("bench", "advise", bench, *WHO, "--latency-ms", "0.001")
    assert told.returncode == 1
    assert told.stdout.startswith("None of the measured modes")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--active-share", "200%"), "'200%' is no share"),
        (("--refresh", "soon"), "'soon' is no time"),
        (("--report", "missing/report.html"), "missing/report.html: cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(bench: Path, words: tuple[str, ...], complaint: str) -> None:
    told = mlkit("bench", "advise", bench, *WHO, *words)
    assert told.returncode == 2
    assert complaint in told.stderr


def batch(*rates: float, cores: int = 2) -> BenchResult:
    return result(measured("batch", "offline", *rates), machine=machine(cores=cores))


@pytest.mark.parametrize(
    ("after", "words", "code"),
    [
        (batch(100, 101, 99), (), 0),
        (batch(80, 81, 79), (), 1),
        (batch(80, 81, 79), ("--threshold", "30%"), 0),
        (batch(100, 101, 99, cores=4), (), 2),
        (batch(100, 101, 99, cores=4), ("--force",), 0),
    ],
)
def test_compare_exits_with_what_it_found(
    tmp_path: Path, after: BenchResult, words: tuple[str, ...], code: int
) -> None:
    files = written(tmp_path / "a.json", batch(100, 101, 99)), written(tmp_path / "b.json", after)
    told = mlkit("bench", "compare", *files, *words)
    assert told.returncode == code, told.stderr
    if code == 2:
        assert "--force" in told.stderr


def test_a_threshold_may_come_from_the_folder_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = written(tmp_path / "a.json", batch(100, 101, 99)), written(tmp_path / "b.json", batch(80, 81, 79))
    Path("mlkit.toml").write_text('[bench.compare]\nthreshold = "30%"\n')
    assert mlkit("bench", "compare", *files).returncode == 0
    assert mlkit("bench", "compare", *files, "--threshold", "5%").returncode == 1


def test_a_comparison_is_one_document_with_json_even_where_a_change_is_infinite(tmp_path: Path) -> None:
    files = written(tmp_path / "a.json", batch(0, 0, 0)), written(tmp_path / "b.json", batch(1, 2, 3))
    document = json.loads(mlkit("bench", "compare", *files, "--json").stdout)
    assert document["differences"][0]["change"]["verdict"] == "better"
    assert document["differences"][0]["change"]["value"] is None


def test_a_first_word_that_is_no_further_command_is_a_bundle() -> None:
    told = mlkit("bench", "bundles/eta")
    assert told.returncode == 2
    assert "Missing option '--data'" in told.stderr


def test_the_help_names_the_further_commands() -> None:
    help_text = mlkit("bench", "--help").stdout
    assert "{BUNDLE}" in help_text
    assert "advise " in help_text
    assert "compare " in help_text
