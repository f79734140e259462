import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import mlops_kit
from mlops_kit.bundle import manifest as manifests
from mlops_kit.bundle.bundle import open_bundle
from mlops_kit.bundle.files import staged
from mlops_kit.errors import BundleError, UsageError
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from tests.bundles import NAMES, WEIGHTS, edit_graph, edit_manifest, linear_graph, sign_again, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def test_an_intact_bundle_answers(bundle: Path) -> None:
    row = {name: float(index) for index, name in enumerate(NAMES)}
    assert mlops_kit.load(bundle).predict(row) == {"prediction": float((WEIGHTS**2).sum())}


def test_plain_onnxruntime_loads_it(bundle: Path) -> None:
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    (answer,) = session.run(None, {"features": np.ones((1, len(NAMES)), np.float32)})
    assert answer.item() == WEIGHTS.sum()


def test_it_loads_through_a_symlink_to_the_directory(bundle: Path) -> None:
    current = bundle.parent / "current"
    current.symlink_to(bundle.name, target_is_directory=True)
    assert open_bundle(current).directory == bundle.resolve()


def _external(model: onnx.ModelProto, **fields: Any) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.external_data)
    kept = {entry.key: entry.value for entry in tensor.external_data} | {k: str(v) for k, v in fields.items()}
    del tensor.external_data[:]
    for key, value in kept.items():
        tensor.external_data.add(key=key, value=value)


def _relocate(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit_graph(folder, lambda model: _external(model, **fields))


def _overlap(folder: Path) -> None:
    shutil.rmtree(folder)
    write_bundle(folder, linear_graph(bias=np.zeros(WEIGHTS.shape, np.float32).reshape(-1)))

    def point_at_same(model: onnx.ModelProto) -> None:
        first, second = (tensor for tensor in model.graph.initializer if tensor.external_data)
        del second.external_data[:]
        second.external_data.extend(first.external_data)

    edit_graph(folder, point_at_same)


def _foreign_operator(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = "com.evil"
        model.opset_import.append(onnx.helper.make_opsetid("com.evil", 1))

    edit_graph(folder, change)


def _huge_manifest(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(3 * 2**30)  # sparse: three gigabytes that occupy no disk


def _list_twice(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    edit_manifest(folder, files=[*files, files[0]])


def _list_outside(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        files = json.loads((folder / "manifest.json").read_bytes())["files"]
        edit_manifest(folder, files=[*files, {**files[0], "name": name}])

    return change


def _replace_by_symlink(folder: Path) -> None:
    target = folder.parent / "elsewhere"
    (folder / "weights.safetensors").rename(target)
    (folder / "weights.safetensors").symlink_to(target)


def _truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def _flip_bit(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return change


def _sign_truncated_graph(folder: Path) -> None:
    _truncate("model.onnx")(folder)
    sign_again(folder)


def _edit_signature(part: str, **changes: Any) -> Callable[[Path], None]:
    """Change the first entry of a part of the signature, or without changes remove all of them."""

    def change(folder: Path) -> None:
        signature = json.loads((folder / "manifest.json").read_bytes())["signature"]
        first, *others = signature[part]
        edit_manifest(folder, signature={**signature, part: [{**first, **changes}, *others] if changes else []})

    return change


def _edit_text(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "manifest.json").read_text()
        assert old in text
        (folder / "manifest.json").write_text(text.replace(old, new))

    return change


def _symlink_manifest(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "elsewhere")
    (folder / "manifest.json").symlink_to(folder.parent / "elsewhere")


def _hide_in_function(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = onnx.TensorProto(name="hidden", data_type=onnx.TensorProto.FLOAT, dims=[1], data_location=1)
        tensor.external_data.add(key="location", value="unlisted.bin")
        function = onnx.helper.make_function("own", "f", [], ["y"], [], [], attributes=[])
        function.attribute_proto.append(onnx.helper.make_attribute("value", tensor))
        model.functions.append(function)

    edit_graph(folder, change)


def _duplicate_key(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = (t for t in model.graph.initializer if t.external_data)
        tensor.external_data.add(key="offset", value="0")

    edit_graph(folder, change)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no graph": (lambda f: (f / "model.onnx").unlink(), "it is missing"),
    "truncated graph": (_truncate("model.onnx"), "the manifest says"),
    "truncated weights": (_truncate("weights.safetensors"), "the manifest says"),
    "edited graph": (_flip_bit("model.onnx"), "differs from the checksum"),
    "edited weights": (_flip_bit("weights.safetensors"), "differs from the checksum"),
    "edited goldens": (_flip_bit("goldens.parquet"), "differs from the checksum"),
    "truncated manifest": (_truncate("manifest.json"), "not valid JSON"),
    "truncated graph, signed again": (_sign_truncated_graph, "not an ONNX model"),
    "another format": (lambda f: edit_manifest(f, format=99), "format 99"),
    "a format of another type": (lambda f: edit_manifest(f, format=True), "format True"),
    "a row block of text": (lambda f: edit_manifest(f, row_block="2"), "wrong type"),
    "a row block out of range": (lambda f: edit_manifest(f, row_block=10**9), "out of range"),
    "a column without a name": (_edit_signature("columns", name=None), "wrong type"),
    "a negative dimension": (_edit_signature("columns", shape=[-1]), "negative dimension"),
    "an unknown dtype": (_edit_signature("outputs", dtype="object"), "unknown dtype"),
    "an unknown layout": (_edit_signature("tensors", layout="cube"), "wrong type"),
    "a tensor of no column": (_edit_signature("tensors", columns=[]), "do not match"),
    "no outputs": (_edit_signature("outputs"), "no outputs"),
    "an output that the graph lacks": (_edit_signature("outputs", tensor="nothing"), "'nothing'"),
    "an input that the graph lacks": (_edit_signature("tensors", name="nothing"), "'nothing'"),
    "an input of another type": (_edit_signature("tensors", dtype="float64"), "float64"),
    "a tolerance of infinity": (_edit_text('"tolerance": 0.0001', '"tolerance": Infinity'), "no JSON"),
    "a tolerance of text": (_edit_text('"tolerance": 0.0001', '"tolerance": "x"'), "wrong type"),
    "a senseless tolerance": (_edit_text('"tolerance": 0.0001', '"tolerance": 7'), "makes no sense"),
    "a file name that is no text": (_list_outside("\ud800"), "not a plain file name"),
    "a FIFO as a file": (lambda f: (_list_outside("pipe")(f), os.mkfifo(f / "pipe")), "not a regular file"),
    "a symlinked manifest": (_symlink_manifest, "symbolic link"),
    "data in the default of a function": (_hide_in_function, "no data file of the bundle"),
    "data that lies in two places": (_duplicate_key, "says twice"),
    "no signature": (lambda f: edit_manifest(f, signature={}), "missing or of the wrong type"),
    "manifest of 3 GB": (_huge_manifest, "more than the"),
    "manifest is a list": (lambda f: (f / "manifest.json").write_text("[]"), "format 'list'"),
    "deeply nested manifest": (lambda f: (f / "manifest.json").write_text("[" * 10**6), "not valid JSON"),
    "a key twice": (lambda f: (f / "manifest.json").write_text('{"format": 1, "format": 1}'), "occurs twice"),
    "a file twice": (_list_twice, "twice"),
    "a file outside": (_list_outside("../passwd"), "not a plain file name"),
    "a file by absolute path": (_list_outside("/etc/passwd"), "not a plain file name"),
    "a file that is a folder": (lambda f: (_list_outside("sub")(f), (f / "sub").mkdir()), "not a regular file"),
    "data in ../": (_relocate(location="../elsewhere"), "no data file of the bundle"),
    "data at an absolute path": (_relocate(location="/etc/passwd"), "no data file of the bundle"),
    "data in the graph itself": (_relocate(location="model.onnx"), "no data file of the bundle"),
    "data by symlink": (_replace_by_symlink, "symbolic link"),
    "data by hard link": (lambda f: os.link(f / "weights.safetensors", f.parent / "link"), "hard-linked"),
    "data beyond the end": (_relocate(offset=10**6), "which has"),
    "data before the beginning": (_relocate(offset=-8), "which has"),
    "data of the wrong length": (_relocate(length=4), "needs 320 bytes and refers to 4"),
    "data of no number": (_relocate(offset="x"), "no readable offset"),
    "data overlapping": (_overlap, "overlap"),
    "foreign operator": (_foreign_operator, "'com.evil'"),
}


@pytest.mark.parametrize(("damage", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_bundle_is_refused_with_its_reason(
    bundle: Path, damage: Callable[[Path], Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "run", lambda *_: pytest.fail("it was run"))
    damage(bundle)
    with pytest.raises(BundleError, match=reason):
        mlops_kit.load(bundle)


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        mlops_kit.load(tmp_path / "nothing")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a bundle"):
        mlops_kit.load(tmp_path)


def test_a_manifest_survives_its_own_format(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    assert manifests.parse_manifest(data).to_bytes() == data


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged(tmp_path / "deep" / "er" / "out") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"), staged(tmp_path):
        pytest.fail("the block must not run")


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(UsageError, match="exists"), staged(target) as folder:
        (folder / "new").write_text("new")
        target.mkdir()
        (target / "precious").write_text("precious")
    assert [path.name for path in target.iterdir()] == ["precious"]
