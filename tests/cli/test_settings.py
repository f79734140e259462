from pathlib import Path

import pytest
from mlops_kit_cli.settings import Settable, read_settings

from mlops_kit.errors import UsageError
from tests.bundles import write_bundle
from tests.cli.mlkit import mlkit

OPTIONS = Settable(
    commands={
        "export": Settable({"source": False, "out": False, "trust_pickle": False}),
        "batch-predict": Settable({"keep": True, "out": False}),
        "features": Settable(commands={"push": Settable({"dead_letter": False})}),
        "bench": Settable({"slo_ms": False}, {"advise": Settable({"active_share": False})}),
    }
)


def test_settings_become_defaults_by_parameter(tmp_path: Path) -> None:
    path = tmp_path / "mlkit.toml"
    path.write_text('[export]\nout = "b"\ntrust-pickle = true\n[batch_predict]\nkeep = "id"\n')
    assert read_settings(OPTIONS, path) == {
        "export": {"out": "b", "trust_pickle": True},
        "batch-predict": {"keep": ["id"]},
    }
    assert read_settings(OPTIONS, tmp_path / "other.toml") == {}


def test_what_can_be_repeated_takes_a_list(tmp_path: Path) -> None:
    path = tmp_path / "mlkit.toml"
    path.write_text('[batch-predict]\nkeep = ["id", 7]\n')
    assert read_settings(OPTIONS, path) == {"batch-predict": {"keep": ["id", "7"]}}


def test_further_commands_have_tables_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "mlkit.toml"
    path.write_text('[bench]\nslo-ms = 20\n[bench.advise]\nactive-share = "2%"\n')
    assert read_settings(OPTIONS, path) == {"bench": {"slo_ms": "20", "advise": {"active_share": "2%"}}}


BAD = [
    ("[bench]\nadvise = 1\n", "'bench.advise' is no table"),
    ("[bench.advice]\n", r"no setting of \[bench\] is called 'advice'.*did you mean 'advise'"),
    ("[bench.advise]\nslo-ms = 1\n", r"no setting of \[bench.advise\] is called 'slo-ms'"),
    ("[export]\nout = [1]\n", "out takes one value"),
    ("[export\n", "cannot be read"),
    ("[exprot]\nout = 1\n", "no command is called 'exprot'.*did you mean 'export'"),
    ("export = 1\n", "'export' is no table"),
    ("[export]\nuot = 1\n", r"no setting of \[export\] is called 'uot'.*did you mean 'out'"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_setting_that_nobody_reads_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mlkit.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_settings(OPTIONS, tmp_path / "mlkit.toml")


def test_what_a_server_serves_may_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlkit.toml").write_text('[serve]\nbundles = ["one=file", "two=file"]\nport = 0\ngrpc-port = 0\n')
    assert "file: no such bundle" in mlkit("serve").stderr
    assert "environment: no such bundle" in mlkit("serve", MLKIT_SERVE_BUNDLES="one=environment two=x").stderr
    assert "flag: no such bundle" in mlkit("serve", "flag", MLKIT_SERVE_BUNDLES="environment").stderr


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "file")
    (tmp_path / "mlkit.toml").write_text('[verify]\nbundle = "file"\ndata = "file.csv"\n')
    assert "file.csv: no such file" in mlkit("verify").stderr
    assert "environment.csv: no such file" in mlkit("verify", MLKIT_VERIFY_DATA="environment.csv").stderr
    assert "flag.csv: no such" in mlkit("verify", "--data", "flag.csv", MLKIT_VERIFY_DATA="environment.csv").stderr


def test_a_command_below_another_has_a_table_below_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlkit.toml").write_text(
        '[features.push]\nfeatures = "file.py"\nsource = "clicks"\nstore = "sqlite:///x.db"\n'
    )
    assert "file.py" in mlkit("features", "push").stderr
    assert "flag.py" in mlkit("features", "push", "--features", "flag.py").stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[features.push]\ndead_leter = 'x'", "no setting of \\[features.push\\] is called 'dead_leter'"),
        ("[features.puhs]\nsource = 'x'", "no setting of \\[features\\] is called 'puhs'"),
        ("[features]\npush = 'x'", "'features.push' is no table"),
    ],
)
def test_what_no_command_below_another_has_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mlkit.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_settings(OPTIONS, tmp_path / "mlkit.toml")
