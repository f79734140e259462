"""`mlkit bench` on small bundles, with its real servers and commands."""

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import mlops_kit
from mlops_kit.bench.job import BenchJob
from mlops_kit.bench.report.notes import collect_notes
from mlops_kit.bench.results import BenchResult
from mlops_kit.bench.run import run_bench
from mlops_kit.errors import InputError, MlkitError, StoreError, UsageError
from mlops_kit.features import load_definition
from tests.bundles import NAMES, WEIGHTS, linear_graph, write_bundle
from tests.cli.mlkit import COMMAND, mlkit
from tests.features.definition.flights import DEFINITION, write_flights
from tests.modes.online.mixed_bundle import HOSTILE, write_mixed_bundle
from tests.servers.valkey import ValkeyServer

MODES = ["batch", "lookup", "lookup-redis", "online-grpc", "online-rest"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bench") / "bundle")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "rows.parquet"
    random = np.random.default_rng(0)
    pl.DataFrame({name: random.normal(size=600).astype(np.float32) for name in NAMES}).write_parquet(path)
    return path


def test_a_quick_bench_measures_every_mode_and_all_agree(
    bundle: Path, rows: Path, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    redis = f"redis://127.0.0.1:{valkey_server.port}/3"
    words = ("--quick", "--scenario", "single-stream,offline", "--redis", redis, "--json", tmp_path / "out.json")
    done = mlkit("bench", bundle, "--data", rows, *words)
    assert done.returncode == 0, done.stderr
    assert "p90" in done.stdout
    assert "a first picture" in done.stderr
    assert "of 7: online-rest, single-stream" in done.stderr
    result = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=BenchResult)
    assert result.is_quick
    assert result.parity.rows == 512
    assert result.parity.mismatches == dict.fromkeys(MODES, 0)
    found = {(each.mode, each.scenario): each for each in result.measurements}
    assert len(found) == 7
    for (mode, scenario), each in found.items():
        assert each.rate.value > 0, (mode, scenario)
        assert not each.errors, (mode, scenario)
        assert (each.latency is None) == (scenario == "offline")
        assert (each.stored_bytes_per_row is not None) == (scenario == "offline" and mode != "batch")
        assert (each.client_limit is not None) == mode.startswith("online")
    rest = found["online-rest", "single-stream"]
    assert set(rest.stages_s) == {"send", "queue", "assemble", "model", "rest"}
    assert rest.peak_memory_bytes is not None
    assert rest.peak_memory_bytes > 2**20
    with valkey_server.client(db=3) as client:
        assert client.dbsize() == 0


def test_a_mode_with_other_answers_fails_the_bench_and_the_first_row_is_told(
    bundle: Path, rows: Path, tmp_path: Path
) -> None:
    """Started through a program that puts another model in the place of the one that is asked for."""
    other = write_bundle(tmp_path / "other", linear_graph(WEIGHTS + 1), weights=WEIGHTS + 1)
    swap = f"import sys; sys.argv = [word.replace({str(bundle)!r}, {str(other)!r}) for word in sys.argv]; "
    patched = (sys.executable, "-c", swap + COMMAND[-1])
    run = f"from mlops_kit_cli.bench import run as bench; bench.COMMAND = {patched!r}; {COMMAND[-1]}"
    words = ("bench", bundle, "--data", rows, "--mode", "batch", "--quick")
    done = subprocess.run(
        [sys.executable, "-c", run, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "of 512 rows, 512 of batch differ" in done.stderr
    assert "row 0 of batch: prediction is" in done.stderr


def test_all_modes_agree_on_text_whole_numbers_and_missing_values(tmp_path: Path) -> None:
    """Also where the data has whole numbers as floats. A row without a text is left out."""
    columns: dict[str, Any] = {
        "amount": [0.1, None, float("nan"), 3.4e38] * 50,
        "count": [1.0, 2.0, 3.0, 4.0] * 50,
        "is_new": [True, False] * 100,
        HOSTILE: ["it's <b>", None, "ü €", ""] * 50,
        "vector": [[1.0, 2.5, 3.4e38], [0.0, -0.0, 1.0]] * 100,
    }
    pl.DataFrame(columns).write_parquet(tmp_path / "rows.parquet")
    mixed = write_mixed_bundle(tmp_path / "mixed")
    scenarios = ("single-stream", "multi-stream")
    job = BenchJob(str(mixed), tmp_path / "rows.parquet", tuple(COMMAND), scenarios=scenarios, is_quick=True)
    result = run_bench(job, lambda _: None)
    assert result.parity.modes == ("batch", "lookup", "online-grpc", "online-rest")
    assert not any(result.parity.mismatches.values()), result.parity.first
    assert result.parity.rows == 150
    assert not any(each.errors for each in result.measurements)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modes": ("onlin",)}, "'onlin' is no mode"),
        ({"scenarios": ("ofline",)}, "'ofline' is no scenario"),
        ({"modes": ("lookup-redis",)}, "needs --redis URL"),
        ({"modes": ("lookup-redis",), "redis": "redis://127.0.0.1/0?table=eta"}, "--redis has ?table="),
        ({"modes": ("batch",), "scenarios": ("server",)}, "no mode has such a scenario"),
        ({"modes": ("lookup-redis",), "redis": "redis://127.0.0.1:1/0"}, "127.0.0.1:1"),
        ({"data": Path("nowhere.parquet")}, "no such file"),
    ],
)
def test_what_cannot_be_measured_is_told(bundle: Path, rows: Path, changes: dict[str, Any], said: str) -> None:
    job = BenchJob(str(bundle), rows, tuple(COMMAND), is_quick=True)
    with pytest.raises((UsageError, InputError, StoreError)) as caught:
        run_bench(replace(job, **changes), lambda _: None)
    assert said in str(caught.value)


def test_rows_without_the_models_columns_are_refused(bundle: Path, tmp_path: Path) -> None:
    pl.DataFrame({"x0": [1.0]}).write_parquet(tmp_path / "rows.parquet")
    done = mlkit("bench", bundle, "--data", tmp_path / "rows.parquet")
    assert done.returncode == 2
    assert "x1" in done.stderr


def test_rows_of_a_model_with_features_bring_them_along_and_the_bench_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_flights(tmp_path)
    (tmp_path / "features.py").write_text(DEFINITION)
    names = ["distance", "delay_mean_1h", "departures_1h", "runways", "altitude"]
    joined = pl.DataFrame(np.random.default_rng(0).normal(size=(50, 5)).round(2), schema=names)
    model = Ridge().fit(joined.to_pandas(), joined["distance"])
    mlops_kit.export(model, sample=joined.to_pandas(), features=load_definition("features.py"), out="eta")
    joined.write_parquet("joined.parquet")
    joined.select("distance").write_parquet("rows.parquet")
    job = BenchJob("eta", Path("rows.parquet"), tuple(COMMAND), modes=("batch",), is_quick=True)
    with pytest.raises(UsageError) as refused:
        run_bench(job, lambda _: None)
    assert "mlkit features join --features eta --spine rows.parquet" in str(refused.value)
    result = run_bench(replace(job, data=Path("joined.parquet")), lambda _: None)
    assert any("computing them for a batch" in note for note in collect_notes(result))


def test_a_server_that_does_not_start_is_told(rows: Path, bundle: Path) -> None:
    job = BenchJob(str(bundle), rows, (sys.executable, "-c", "pass"), modes=("online-rest",), is_quick=True)
    with pytest.raises(MlkitError, match="mlkit serve does not start"):
        run_bench(job, lambda _: None)


def test_the_settings_of_the_folder_change_nothing_of_what_is_measured(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundle and rows are named as seen from that folder."""
    monkeypatch.chdir(tmp_path)
    Path("bundle").symlink_to(bundle)
    pl.DataFrame({name: np.zeros(50, np.float32) for name in NAMES}).write_parquet("rows.parquet")
    Path("mlkit.toml").write_text(
        '[batch-predict]\nkeep = "nowhere"\nno-such-setting = 1\n[serve]\nworkers = 0\nstore = "nowhere://"\n'
    )
    job = BenchJob("bundle", Path("rows.parquet"), tuple(COMMAND), modes=("batch", "online-rest"), is_quick=True)
    result = run_bench(job, lambda _: None)
    assert result.bundle == "bundle"
    assert result.parity.mismatches == {"batch": 0, "online-rest": 0}
    # A quick bench leaves out multi-stream if nobody asks for it.
    assert [each.scenario for each in result.measurements] == ["offline", "single-stream", "server"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_bench_that_is_stopped_leaves_nothing_running(
    bundle: Path, rows: Path, number: signal.Signals, code: int
) -> None:
    words = ("--mode", "online-rest", "--scenario", "single-stream", "--duration", "100")
    command = [*COMMAND, "bench", str(bundle), "--data", str(rows), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("1 of 3: online-rest" in line for line in process.stderr)
        started = [os.pidfd_open(pid) for pid in descendants(process.pid)]
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == code
    assert len(started) > 3
    for pidfd in started:
        # Readable once the process has ended.
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)


def test_a_bench_that_is_killed_leaves_nothing_running_and_no_files(
    bundle: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a load that would go on for long."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = ("--mode", "online-rest", "--scenario", "single-stream", "--duration", "300")
    command = [*COMMAND, "bench", str(bundle), "--data", str(rows), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("1 of 3: online-rest" in line for line in process.stderr)
        started = [os.pidfd_open(pid) for pid in descendants(process.pid)]
        assert list(tmp_path.glob("mlkit-bench-*"))
        process.kill()
    assert len(started) > 3
    for pidfd in started:
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)
    assert not list(tmp_path.glob("mlkit-*"))


def descendants(pid: int) -> list[int]:
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return found + [grandchild for child in found for grandchild in descendants(child)]
