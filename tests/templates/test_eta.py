"""The project that `mlkit init` makes: what its README says to type works as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mlops_kit.scaffold import create_project
from tests.ports import free_port

PORT = str(free_port())
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    # OpenMP's threads wait for each other in a busy loop, which other tests pay for.
    "OMP_NUM_THREADS": "1",
    "MLKIT_SERVE_PORT": PORT,
    "MLKIT_SERVE_GRPC_PORT": "0",
    "MLKIT_SERVE_TIMEOUT_MS": "60000",
    "MLKIT_SERVE_STORE_TIMEOUT_MS": "60000",
}
STOP_WHAT_RUNS = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"


def commands(section: str, readme: str) -> str:
    """The indented lines of a section, as a script; without the installation."""
    text = readme.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return "\n".join(line for line in re.findall(r"^    (.*)", text, re.MULTILINE) if not line.startswith("pip "))


def run(script: str, project: Path) -> str:
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", STOP_WHAT_RUNS + script.replace("8080", PORT)],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which everything under "Run it" was typed."""
    folder = tmp_path_factory.mktemp("eta") / "project"
    create_project("eta", folder)
    (folder / "stdout").write_text(run(commands("Run it", (folder / "README.md").read_text()), folder))
    return folder


def test_the_model_is_as_good_as_the_readme_says(project: Path) -> None:
    errors = re.findall(r"(\d+\.\d+) min", (project / "stdout").read_text())
    found = re.search(r"About (.*) minutes off; taking the departure delay is (.*) off", (project / "README.md").read_text())
    assert found is not None
    assert [f"{float(error):.1f}" for error in errors] == [*found.groups()]


def test_all_of_december_is_predicted(project: Path) -> None:
    predicted = pl.read_parquet(project / "predictions/2013-12/current/**/*.parquet")
    assert len(predicted) == len(pl.read_parquet(project / "data/2013-12.parquet"))


def test_one_flight_is_predicted_as_among_all_others(project: Path) -> None:
    alone = re.search(r'"prediction": (.*)', (project / "stdout").read_text())
    at = pl.col("time") == pl.datetime(2013, 12, 23, 22, 22)
    among = pl.read_parquet(project / "predictions/2013-12/current/**/*.parquet").filter(at, carrier="B6")
    assert alone is not None
    assert float(alone[1]) in among["prediction"].to_list()


def test_the_bundle_says_which_keys_a_request_must_have(project: Path) -> None:
    assert re.search(r"^keys .*\borigin \(string\)", (project / "stdout").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def served(project: Path) -> str:
    """What the commands said that are under "Serve it"."""
    return run(commands("Serve it", (project / "README.md").read_text()), project)


def test_the_store_is_filled_and_kept_up_to_date(served: str) -> None:
    assert "1,025 of 321,446 events applied" in served
    assert "\n321446\n" in served


def test_every_vector_that_was_served_is_what_history_gives(served: str) -> None:
    assert "224 vectors, 4,032 values compared, 0 features differ" in served


def test_the_server_gives_the_answers_that_the_batch_gave(served: str, project: Path) -> None:
    log = pl.read_parquet(project / "served/**/*.parquet").filter(pl.col("as_of") < pl.datetime(2013, 12, 24, 2, time_zone="UTC"))
    evening = pl.col("time").is_between(pl.datetime(2013, 12, 23, 22), pl.datetime(2013, 12, 24, 2), closed="left")
    batch = pl.read_parquet(project / "predictions/2013-12/current/**/*.parquet").filter(evening)
    live = log.sort("as_of", "id", "row")
    assert live["outputs"].struct.field("prediction").to_list() == batch["prediction"].to_list()


def test_make_serves_the_same_evening_again(served: str, project: Path) -> None:
    said = run("make live check PORT=8080", project)
    assert "223 departures posted, 0 events refused\n223 flights predicted meanwhile" in said
    assert "447 vectors, 8,046 values compared, 0 features differ" in said
