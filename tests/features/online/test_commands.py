import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import numpy as np
import polars as pl
import pytest
from mlops_kit_cli.main import app

from mlops_kit.errors import UsageError
from mlops_kit.features.definition.loading import load_definition
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.records import events_space
from mlops_kit.stores.resolve import open_store
from tests.cli.mlkit import COMMAND
from tests.features.online.memory_store import MemoryStore

DEFINITION = """
from mlops_kit.features import Events, Table, count, last, mean, std

departures = Events("departures", key="origin", time="at", history=r"{folder}/departures")
airports = Table("airports", key="origin", path=r"{folder}/airports.parquet")
features = [
    departures.window("1h").agg(mean_1h=mean("delay", default=0.0), n_1h=count(), last_carrier=last("carrier")),
    departures.window("30d", hop="1d").agg(std_30d=std("delay")),
    airports.select("elevation"),
]
"""
T0 = 1_700_000_000_000_000
END = "2023-11-15T01:00:00Z"


def flights(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    at = pl.Series(T0 + np.arange(rows) * 1_000_000 + rng.integers(0, 30_000_000, rows))
    return pl.DataFrame(
        {
            "origin": rng.choice(["JFK", "EWR", "LGA", "1"], rows),
            "at": at.cast(pl.Datetime("us", "UTC")),
            "delay": rng.normal(size=rows),
            "carrier": pl.Series(rng.choice(["AA", "B6", ""], rows).tolist()).replace({"": None}),
        }
    )


def ndjson(frame: pl.DataFrame) -> str:
    return frame.with_columns(pl.col("at").dt.to_string("iso:strict")).write_ndjson()


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "departures").mkdir()
    flights(2000)[:1000].write_parquet(tmp_path / "departures" / "a.parquet")
    pl.DataFrame({"origin": ["JFK"], "elevation": [13.0]}).write_parquet(tmp_path / "airports.parquet")
    path = tmp_path / "features.py"
    path.write_text(DEFINITION.replace("{folder}", str(tmp_path)))
    return path


def states_of(definition: Path, uri: str) -> dict[bytes, bytes]:
    features = load_definition(definition)
    layout = compile_layout(features.events[0], features.windows)
    with closing(open_store(uri)) as store:
        return {key: value.data for key, value in store.scan(events_space(layout, ""))}


def undisturbed(definition: Path, frame: pl.DataFrame) -> dict[bytes, bytes]:
    features, store = load_definition(definition), MemoryStore()
    layout = compile_layout(features.events[0], features.windows)
    Pusher(features.events[0], layout, store).push(frame, np.arange(len(frame)))
    return {key: value.data for key, value in store.scan(events_space(layout, ""))}


def push_words(definition: Path, uri: str, *words: object) -> list[str]:
    common = ["--features", definition, "--source", "departures", "--store", uri]
    return [*map(str, ["features", "push", *words, *common])]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/features.db"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """A command in this process, where Numba is loaded already: what it printed on stdout and stderr."""

    def run_here(*words: object) -> tuple[str, str]:
        app([*map(str, words)], standalone_mode=False)
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run_here


def test_a_store_is_filled_kept_fresh_and_shows_a_vector(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    out, _ = run("features", "materialize", definition, "--store", uri, "--as-of", END)
    assert out == ("airports: 1 keys\ndepartures: 1,000 of 1,000 events applied; up to number 999\n")
    (tmp_path / "more.ndjson").write_text(ndjson(flights(2000)[1000:]))
    out, err = run(*push_words(definition, uri, tmp_path / "more.ndjson"))
    assert (out, err) == ("1999\n", "the first of these events is number 1000\n1,000 of 1,000 events applied\n")
    out, _ = run("features", "get", definition, "--store", uri, "--key", "origin=JFK", "--at", END, "--json")
    document = json.loads(out)
    mine = flights(2000).filter(pl.col("origin") == "JFK")
    assert document["features"]["elevation"]["value"] == 13.0
    assert document["features"]["std_30d"]["value"] == pytest.approx(mine["delay"].std())
    assert document["features"]["n_1h"]["value"] == 0
    assert document["applied"] == {"departures": int((flights(2000)["origin"] == "JFK").arg_true()[-1])}
    assert states_of(definition, uri) == undisturbed(definition, flights(2000))


def test_history_that_is_too_old_to_matter_is_passed_over_without_importing_pandas(
    definition: Path, uri: str
) -> None:
    words = ["features", "materialize", str(definition), "--store", uri]
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(
        "departures: 0 of 1,000 events applied, 1,000 too old to matter; up to number 999\n"
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "polars" in imported
    assert "pandas" not in imported


def test_a_key_that_nobody_knows_has_defaults_and_is_said_to_be_missing(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str
) -> None:
    run("features", "materialize", definition, "--store", uri, "--as-of", END)
    out, err = run("features", "get", definition, "--store", uri, "--key", "origin=XYZ", "--at", END)
    assert err == "departures does not know this key\nairports does not know this key\n"
    assert [line.split() for line in out.splitlines()][1] == ["mean_1h", "0.0", "-", "departures"]


def with_late_ones(frame: pl.DataFrame) -> pl.DataFrame:
    """Every thirtieth event cannot count: by turns it is of before 1970, or comes too late to matter."""
    row = pl.int_range(pl.len())
    days = pl.when(row % 60 == 59).then(-90).when(row % 30 == 29).then(-30_000).otherwise(0)
    return frame.with_columns(at=pl.col("at") + pl.duration(days=days))


def test_a_killed_push_replayed_from_the_last_acknowledged_event_gives_the_undisturbed_bytes(
    definition: Path, store_uri: str, tmp_path: Path
) -> None:
    frame, acknowledged, codes = with_late_ones(flights(2000)), -1, []
    lines, letters = ndjson(frame).splitlines(keepends=True), tmp_path / "dead.ndjson"
    for last_words in (random.randint(0, 60), len(lines)):
        options = ["--first-sequence", acknowledged + 1, "--batch", 20, "--dead-letter", letters, "--json"]
        words = push_words(definition, store_uri, *options)
        with subprocess.Popen([*COMMAND, *words], stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.writelines(lines[acknowledged + 1 :])
            process.stdin.close()
            for number, line in enumerate(process.stdout):
                acknowledged = json.loads(line)["acknowledged"]
                if number == last_words:
                    process.kill()
                    break
        codes.append(process.returncode)
    assert codes == [-signal.SIGKILL, 0]
    assert acknowledged == len(lines) - 1
    assert states_of(definition, store_uri) == undisturbed(definition, frame)
    buried = [json.loads(line)["sequence"] for line in letters.read_text().splitlines()]
    assert sorted(buried) == list(range(29, len(frame), 30))


KILLED = """
import os, signal
from itertools import count
from mlops_kit.stores.sqlite.store import SqliteStore
from mlops_kit_cli.main import run
write, numbers = SqliteStore.write, count()
def write_or_die(self, space, writes):
    is_last = space.startswith("events/") and next(numbers) == 1
    done = write(self, space, writes) if {is_done} or not is_last else None
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
SqliteStore.write = write_or_die
run()
"""


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_push_that_is_killed_as_it_writes_states_loses_no_dead_letter(
    is_done: bool, run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    frame, letters = with_late_ones(flights(200)), tmp_path / "dead.ndjson"
    (tmp_path / "events.ndjson").write_text(ndjson(frame))
    words = [tmp_path / "events.ndjson", "--dead-letter", letters, "--batch", 100, "--first-sequence", 0]
    script = KILLED.format(is_done=is_done)
    killed = subprocess.run([sys.executable, "-c", script, *push_words(definition, uri, *words)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with letters.open("ab") as file:
        file.write(b'{"source":"depart')  # as if it had been killed there
    run(*push_words(definition, uri, *words))
    buried = [json.loads(line)["sequence"] for line in letters.read_text().splitlines()]
    assert sorted(buried) == list(range(29, 200, 30))
    assert states_of(definition, uri) == undisturbed(definition, frame)


def test_dead_letters_are_not_added_to_a_file_of_something_else(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(ndjson(flights(1)) + "the end")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="no file of dead letters"):
        run(*push_words(definition, uri, file, "--dead-letter", file))
    assert file.read_bytes() == before


def test_events_that_do_not_count_are_dead_letters_with_their_number_and_reason(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    good = json.loads(ndjson(flights(1)))
    lines = [
        json.dumps(line) if isinstance(line, dict) else line
        for line in (
            good, good | {"origin": 7}, good | {"origin": None}, good | {"delay": "late"}, "no JSON", "[]",
            good | {"at": "soon"}, good | {"delay": None}, good | {"at": -5}, good | {"at": T0 + 5},
        )
    ]  # fmt: skip
    letters = tmp_path / "dead.ndjson"
    (tmp_path / "events.ndjson").write_text("\n".join(lines))
    out, err = run(*push_words(definition, uri, tmp_path / "events.ndjson", "--dead-letter", letters))
    assert out == "9\n"
    assert err.endswith("3 of 10 events applied, 7 refused\n")
    found = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [letter["sequence"] for letter in found] == [1, 2, 3, 4, 5, 6, 8]
    assert [letter["event"] for letter in found][3:5] == ["no JSON", "[]"]
    assert all(letter["reason"] for letter in found)


def test_without_a_file_for_dead_letters_the_first_reason_is_said(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text("origin,at\n[]\n")
    _, err = run(*push_words(definition, uri, tmp_path / "events.csv"))
    assert "0 of 2 events applied, 2 refused\nthe first of those that do not count: not valid JSON" in err
    assert err.endswith("--dead-letter FILE keeps them all\n")


def test_parquet_is_pushed_from_a_file(
    run: Callable[..., tuple[str, str]], definition: Path, uri: str, tmp_path: Path
) -> None:
    flights(500).write_parquet(tmp_path / "events.parquet", row_group_size=100)
    out, _ = run(*push_words(definition, uri, tmp_path / "events.parquet"))
    assert out.splitlines()[-1] == "499"
    assert states_of(definition, uri) == undisturbed(definition, flights(500))


def test_parquet_is_pushed_from_a_pipe(definition: Path, uri: str, tmp_path: Path) -> None:
    flights(500).write_parquet(tmp_path / "events.parquet", row_group_size=100)
    with subprocess.Popen(["cat", tmp_path / "events.parquet"], stdout=PIPE) as cat:
        subprocess.run([*COMMAND, *push_words(definition, uri)], stdin=cat.stdout, capture_output=True, check=True)
    assert states_of(definition, uri) == undisturbed(definition, flights(500))


USAGE = [
    (["push", "--source", "departurs"], "did you mean 'departures'"),
    (["get", "--key", "orign=JFK"], "did you mean 'origin'"),
    (["get", "--key", "origin=JFK", "--at", "noon"], "'noon' is no time"),
    (["materialize", "--as-of", "noon"], "'noon' is no time"),
]


@pytest.mark.parametrize(("words", "message"), USAGE)
def test_what_makes_no_sense_is_refused_with_what_to_try(
    run: Callable[..., tuple[str, str]], words: list[str], message: str, definition: Path, uri: str
) -> None:
    given = ["--features", definition] if words[0] == "push" else [definition]
    with pytest.raises(UsageError, match=message):
        run("features", words[0], *given, *words[1:], "--store", uri)
