import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.bundles import NAMES, write_bundle
from tests.cli.mlkit import COMMAND, mlkit
from tests.docs.reference import COMMANDS

HEAVY = ("numpy", "onnx", "onnxruntime", "polars", "pyarrow", "pandas", "mlflow", "pydantic", "rich", "fastapi")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.mark.parametrize("words", [["--help"], *([*command.split(), "--help"] for command in COMMANDS)])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys\nfrom mlops_kit_cli.main import run\n"
        f"sys.argv = ['mlkit', *{words!r}]\n"
        "try:\n    run()\nfinally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_its_text_with_an_example(command: str) -> None:
    text = mlkit(*command.split(), "--help").stdout
    assert f"mlkit {command}" in text.partition("Example:")[2].partition("Arguments:")[0]


def test_no_command_shows_the_help() -> None:
    assert "Commands:" in mlkit().stdout + mlkit().stderr


def test_the_version_is_printed() -> None:
    assert mlkit("--version").stdout == "mlkit 0.1.0\n"


USAGE = [
    (["exprt"], "Did you mean 'export'"),
    (["predict"], "Missing argument"),
    (["verify", "nothing"], "nothing: no such bundle"),
    (["predict", "nothing", "nothing"], "nothing: cannot be read"),
    (["batch-predict", "nothing", "nothing", "--out", "x"], "no such bundle"),
    (["export", "nothing.onnx", "--out", "x"], "no such file"),
]


@pytest.mark.parametrize(("words", "message"), USAGE)
def test_what_cannot_run_exits_with_2_and_prints_no_result(words: list[str], message: str) -> None:
    done = mlkit(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_and_changes_no_exit_code() -> None:
    done = mlkit("verify", "nothing", MLKIT_DEBUG="1")
    assert "Traceback" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1", "7"])
def test_verify_refuses_a_senseless_tolerance(bundle: Path, tolerance: str) -> None:
    assert mlkit("verify", bundle, "--tolerance", tolerance).returncode == 2


def test_one_object_on_stdin_gives_one_object(bundle: Path) -> None:
    done = mlkit("predict", bundle, stdin=json.dumps(dict.fromkeys(NAMES, 1)))
    assert json.loads(done.stdout) == {"prediction": sum(range(len(NAMES)))}
    assert done.stderr == ""


def test_a_bad_row_names_the_column(bundle: Path) -> None:
    done = mlkit("predict", bundle, stdin=json.dumps(dict.fromkeys(NAMES, "x")))
    assert done.returncode == 2
    assert done.stderr == (
        "error: column 'x0', row 0: text where the model takes a number\n"
        "  try: give a number for 'x0', or leave the row out\n"
    )


def test_verify_tells_an_intact_bundle(bundle: Path) -> None:
    done = mlkit("verify", bundle, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["is_good"], document["goldens"]["rows"]) == (0, True, 5)


def test_verify_exits_with_2_for_a_damaged_bundle(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    (folder / "weights.safetensors").write_bytes(b"")
    done = mlkit("verify", folder)
    assert done.returncode == 2
    assert "weights.safetensors: refused\n  why: it has 0 bytes" in done.stderr


def test_verify_exits_with_1_for_other_rows_that_differ(bundle: Path, tmp_path: Path) -> None:
    header = ",".join([*NAMES, "prediction"])
    total = sum(range(len(NAMES)))
    good = ",".join(["1.0"] * len(NAMES))
    (tmp_path / "rows.csv").write_text(f"{header}\n{good},{total}.0\n{good},{total + 1}.0\n")
    done = mlkit("verify", bundle, "--data", tmp_path / "rows.csv")
    assert done.returncode == 1
    assert "1 of 2 rows DIFFER, worst 'prediction' of row 1" in done.stdout


def test_inspect_names_inputs_outputs_and_where_the_parameters_are(bundle: Path) -> None:
    text = mlkit("inspect", bundle).stdout
    for part in (
        "tiny",
        "sha256:",
        "80 in 1 tensors (320 B)",
        "x79",
        "float32",
        "prediction",
        "weights.safetensors",
    ):
        assert part in text
    assert json.loads(mlkit("inspect", bundle, "--json").stdout)["row_block"] == 2


def test_doctor_gives_verdicts() -> None:
    done = mlkit("doctor", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["is_ready"] else 1)
    assert {"python", "duckdb", "onnxruntime", "extra torch", "extra cassandra", "temporary folder"} <= {
        v["subject"] for v in document["verdicts"]
    }


def test_ctrl_c_exits_with_130(bundle: Path) -> None:
    process = subprocess.Popen([*COMMAND, "predict", str(bundle)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    program = "import sys, time; time.sleep(1.5)"
    subprocess.run([sys.executable, "-c", program], check=True)
    process.send_signal(2)
    assert process.wait(10) == 130


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_an_interrupted_batch_is_gone_on_with(bundle: Path, tmp_path: Path, signal: int, code: int) -> None:
    rows = pl.DataFrame({name: np.ones(100_000, np.float32) for name in NAMES})
    (tmp_path / "in").mkdir()
    for index in range(10):
        rows.write_parquet(tmp_path / "in" / f"{index}.parquet")
    words = ["batch-predict", str(bundle), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    journals = "out/.mlkit/runs/*/journal.jsonl"
    while not any(b'"unit"' in path.read_bytes() for path in tmp_path.glob(journals)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal)
    _, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"run the same command again" in error
    assert not (tmp_path / "out" / "current").exists()
    again = json.loads(mlkit(*words, "--json").stdout)
    assert (again["rows"], again["units_skipped"] > 0) == (1_000_000, True)


def test_a_bug_exits_with_101_and_asks_for_a_report() -> None:
    program = (
        "import sys, mlops_kit.diagnosis as d\n"
        "d.diagnose = lambda: 1 / 0\n"
        "sys.argv = ['mlkit', 'doctor']\nfrom mlops_kit_cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 101
    assert "a bug in mlkit: ZeroDivisionError" in done.stderr
    assert "MLKIT_DEBUG=1" in done.stderr


LIBRARY = """
import os, signal, sys
from mlops_kit_cli import main

class Panic(BaseException):  # as code in Rust raises it
    pass

class Handle:
    def __del__(self):
        raise ValueError("not closed")

def library():
    handle = Handle()
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise Panic("what I called failed") from None

main.app.command("library")(library)
sys.argv = ["mlkit", "library"]
main.run()
"""


def test_ctrl_c_is_ctrl_c_whatever_a_library_makes_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
