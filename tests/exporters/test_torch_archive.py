"""A .pt2 file is read without executing anything of it, whatever its author put inside."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_kit.errors import SourceError
from mlops_kit.exporters.torch import exporter

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")

GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"

Edit = Callable[[dict[str, bytes]], None]


class Canary:
    """Sings, by creating a file, when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.shift = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x: Any) -> Any:
        doubled = torch.cat([x, x]).reshape(2, -1, 4)[0]
        return {"class score": torch.einsum("bi,i->bi", self.norm(self.layer(doubled)), self.shift)}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    batch = torch.export.Dim("batch")
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Net().eval(), (torch.randn(3, 4),), dynamic_shapes=({0: batch},)), path)
    return path


def tampered(program: Path, out: Path, edit: Edit) -> Path:
    with zipfile.ZipFile(program) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(entries)).split("/")[0]
    inner = {name.partition("/")[2]: data for name, data in entries.items()}
    edit(inner)
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in inner.items():
            archive.writestr(f"{root}/{name}", data)
    return out


def replaced(entry: str, old: str, new: str) -> Edit:
    def edit(entries: dict[str, bytes]) -> None:
        assert old.encode() in entries[entry]
        entries[entry] = entries[entry].replace(old.encode(), new.encode())

    return edit


def operator(name: str) -> Edit:
    return replaced(GRAPH, "torch.ops.aten.linear.default", name)


def added(entry: str, data: bytes = b"") -> Edit:
    return lambda entries: entries.update({entry: data})


def constant_in(file: str) -> Edit:
    payload = {"path_name": file, "is_param": False, "use_pickle": False, "tensor_meta": None}
    return added(CONSTANTS, json.dumps({"config": {"thing": payload}}).encode())


def tree_with(kind: str) -> Edit:
    def edit(entries: dict[str, bytes]) -> None:
        graph = json.loads(entries[GRAPH])
        signature = graph["graph_module"]["module_call_graph"][0]["signature"]
        context = {"enum": [{"__enum__": True, "fqn": "antigravity:A", "name": "B"}]}.get(kind, [])
        leaf = {"type": None, "context": None, "children_spec": []}
        kind_type = "builtins.dict" if kind == "enum" else kind
        signature["out_spec"] = json.dumps(
            [1, {"type": kind_type, "context": json.dumps(context), "children_spec": [leaf]}]
        )
        entries[GRAPH] = json.dumps(graph).encode()

    return edit


HOSTILE = [
    ("a function as an operator", operator("torch.os.system"),
     "operator 'torch.os.system'"),
    ("an operator that writes files", operator("torch.ops.aten.save.default"),
     "aten.save"),
    ("a library to load", operator("torch.ops.load_library"), "load_library"),
    ("Python as a size", replaced(GRAPH, "Symbol('", "__import__('os').system('true') or Symbol('"), "size"),
    ("a method as a size", replaced(GRAPH, "Symbol('", "Symbol('s').__class__('"), "size"),
    ("text as a size", replaced(GRAPH, "Symbol('", "Symbol('import os;"), "size"),
    ("code as a name", replaced(GRAPH, '"name": "x"', '"name": "x=print(1)"'), "name 'x=print"),
    ("a pickled weight", replaced(WEIGHTS, '"use_pickle": false', '"use_pickle": true'), "a pickle for 'layer"),
    ("a pickled object", constant_in("opaque_obj_0"), "a pickle for 'thing'"),
    ("a compiled object", constant_in("custom_obj_0"), "a pickle for 'thing'"),
    ("a compiled model", added("data/aotinductor/model/model.so"), "model.so"),
    ("weights in the former layout", added("data/weights/model.pt", b"\x80\x02."), "model.pt"),
    ("another model", added("models/other.json", b"{}"), "other.json"),
    ("an enumeration to import", tree_with("enum"), "a key that is neither"),
    ("a factory to import", tree_with("collections.defaultdict"), "collections.defaultdict"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), [pytest.param(*case[1:], id=case[0]) for case in HOSTILE])
def test_what_would_run_code_is_refused(program: Path, edit: Edit, message: str, tmp_path: Path) -> None:
    path = tampered(program, tmp_path / "hostile.pt2", edit)
    assert exporter.recognises_file(path, path.read_bytes()[:4096])
    with pytest.raises(SourceError, match=message) as caught:
        exporter.read(path)
    assert "is refused" in str(caught.value)
    assert "torch.export.load it yourself" in str(caught.value)


def test_a_pickle_that_is_not_needed_is_not_opened(program: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tampered(program, tmp_path / "net.pt2", added(SAMPLE_INPUTS, pickle.dumps(Canary(canary))))
    exporter.read(path)
    assert not canary.exists()


def test_an_honest_file_gives_the_program_that_was_saved(program: Path) -> None:
    x = torch.randn(5, 4)
    got = exporter.read(program).module()(x)["class score"]  # type: ignore[attr-defined]
    want = torch.export.load(program).module()(x)["class score"]
    np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy(), strict=True)


def test_a_program_for_another_device_is_read_onto_the_cpu(program: Path, tmp_path: Path) -> None:
    def move(entries: dict[str, bytes]) -> None:
        for name in (GRAPH, WEIGHTS, CONSTANTS):
            entries[name] = entries[name].replace(b'"type": "cpu", "index": null', b'"type": "cuda", "index": 0')

    x = torch.randn(5, 4)
    got = exporter.read(tampered(program, tmp_path / "net.pt2", move)).module()(x)["class score"]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(got.detach(), torch.export.load(program).module()(x)["class score"].detach())


def saved(path: Path) -> Path:
    torch.save(torch.nn.Linear(2, 1), path)
    return path


def test_a_pickle_of_torch_save_is_not_taken_for_a_program(tmp_path: Path) -> None:
    for name in ("net.pt", "net.pt2"):
        path = saved(tmp_path / name)
        assert not exporter.recognises_file(path, path.read_bytes()[:4096])


def cut(program: Path, out: Path) -> Path:
    out.write_bytes(program.read_bytes()[:-500])
    return out


def legacy(out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("version", "8.1")
        archive.writestr("serialized_exported_program.json", "{}")
    return out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda program, out: cut(program, out), "damaged or cut off"),
        (lambda _program, out: legacy(out), "PyTorch 2.7 and older"),
        (lambda program, out: tampered(program, out, added(GRAPH, b"{")), "damaged or cut off"),
        (lambda program, out: tampered(program, out, added(GRAPH, b"{}")), "cannot be read"),
        (lambda program, out: tampered(program, out, added(WEIGHTS, b"[]")), "damaged or cut off"),
        (lambda program, out: tampered(program, out, added("data/weights/weight_0", bytes(4))), "cannot be read"),
    ],
)
def test_a_damaged_file_says_so(make: Any, message: str, program: Path, tmp_path: Path) -> None:
    path = make(program, tmp_path / "net.pt2")
    assert exporter.recognises_file(path, path.read_bytes()[:4096])
    with pytest.raises(SourceError, match=message):
        exporter.read(path)
