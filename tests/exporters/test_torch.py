"""PyTorch networks are exported with a batch dimension that varies, and answer as the original does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors import safe_open

import mlops_kit
from mlops_kit.errors import ConversionError, MissingColumnsError, MissingExtraError, MlkitError, SampleError
from mlops_kit.exporters.interface import Sample
from mlops_kit.exporters.torch import exporter
from mlops_kit.schema import Columns

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra torch)")
nn = torch.nn

RANDOM = np.random.default_rng(0)
torch.manual_seed(0)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.head = nn.Linear(7, 2)

    def forward(self, ids: Any, x: Any, scale: Any = None) -> Any:
        scores = self.head(torch.cat([self.words(ids).mean(1), x], 1))
        return {"scores": scores if scale is None else scores * scale[:, None], "x": x}


class ThreeOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LSTM(4, 5, batch_first=True)

    def forward(self, steps: Any) -> Any:
        last = self.body(steps)[0][:, -1]
        return last, last.argmax(1), last.sum(1, keepdim=True)


class Brightness(nn.Module):
    def forward(self, image: Any) -> Any:
        return (image.float() / 255).mean((1, 2, 3))


def mlp(inputs: int = 4) -> Any:
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 1))


def cnn() -> Any:
    """In training mode, with statistics of its own: the export must use those, and drop nothing out."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network(torch.randn(32, 3, 8, 8) * 3 + 1)
    return network.train()


def floats(*shape: int, dtype: Any = np.float32) -> Any:
    return RANDOM.standard_normal((20, *shape)).astype(dtype)


def tokens(*shape: int, dtype: Any = np.int64) -> Any:
    return RANDOM.integers(0, 10, (20, *shape)).astype(dtype)


TABLE = {name: floats() for name in "abcd"}
PIXELS = RANDOM.integers(0, 256, (20, 3, 4, 4)).astype(np.uint8)
IDS = {"ids": tokens(5), "x": floats(3)}
TWO = {"ids": ("int64", (5,)), "x": ("float32", (3,))}
EMBEDDING = nn.Sequential(nn.Embedding(10, 3), nn.Flatten())
SERVED = [
    ("an MLP on columns", mlp(), TABLE, dict.fromkeys("abcd", ("float32", ())), {"prediction": ()}),
    ("an MLP on one tensor", mlp(), {"input": floats(4)}, {"input": ("float32", (4,))}, {"prediction": ()}),
    ("a tensor of another name", mlp(), {"z": floats(4)}, {"z": ("float32", (4,))}, {"prediction": ()}),
    ("one column", mlp(1), {"input": floats()}, {"input": ("float32", ())}, {"prediction": ()}),
    ("double precision", mlp().double(), TABLE, dict.fromkeys("abcd", ("float64", ())), {"prediction": ()}),
    ("a CNN", cnn(), {"input": floats(3, 8, 8)}, {"input": ("float32", (3, 8, 8))}, {"prediction": (4,)}),
    ("two inputs", TwoInputs(), IDS, TWO, {"scores": (2,), "x": (3,)}),
    ("an input with a default", TwoInputs(), {**IDS, "scale": floats()},
     {**TWO, "scale": ("float32", ())}, {"scores": (2,), "x": (3,)}),
    ("columns in another order", TwoInputs(), {"x": floats(3, dtype=np.float64), "ids": tokens(5, dtype=np.int32)},
     TWO, {"scores": (2,), "x": (3,)}),
    ("columns beside the inputs", TwoInputs(), {"key": np.array(["k"] * 20, object), **IDS},
     TWO, {"scores": (2,), "x": (3,)}),
    ("three outputs", ThreeOutputs(), {"steps": floats(2, 4)}, {"steps": ("float32", (2, 4))},
     {"output_0": (5,), "output_1": (), "output_2": ()}),
    ("an embedding", EMBEDDING, {"input": tokens(4)}, {"input": ("int64", (4,))}, {"prediction": (12,)}),
    ("an embedding of columns", EMBEDDING, {n: tokens() for n in "abcd"}, dict.fromkeys("abcd", ("int64", ())),
     {"prediction": (12,)}),
    ("bytes", Brightness(), {"image": PIXELS}, {"image": ("uint8", (3, 4, 4))}, {"prediction": ()}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sample", "inputs", "outputs"), [pytest.param(*c[1:], id=c[0]) for c in SERVED])
def test_served(model: Any, sample: Any, inputs: Any, outputs: Any, tmp_path: Path, capfd: Any) -> None:
    was_training = model.training
    mlops_kit.export(model, sample=sample, out=tmp_path / "bundle")
    predictor = mlops_kit.load(tmp_path / "bundle")
    assert capfd.readouterr().out == ""
    assert model.training == was_training
    assert {c.name: (c.dtype, c.shape) for c in predictor.signature.columns} == inputs
    assert {o.name: o.shape for o in predictor.signature.outputs} == outputs
    source = exporter.adapt(model, Sample(sample))
    for count in (0, 1, 7, 20):
        rows = {name: values[:count] for name, values in sample.items()}
        want, got = source.reference(rows), predictor.predict(rows)
        for name in outputs:
            np.testing.assert_allclose(got[name], want[name], rtol=1e-4, atol=1e-6, strict=True)


def test_the_reference_is_the_network_in_evaluation_mode() -> None:
    network, x = cnn(), floats(3, 8, 8)
    got = exporter.adapt(network, Sample({"input": x})).reference({"input": x})["prediction"]
    with torch.no_grad():
        np.testing.assert_array_equal(got, network.eval()(torch.from_numpy(x)).numpy(), strict=True)


def test_weights_lie_in_the_weights_file_and_nothing_of_the_source_code_in_the_graph(tmp_path: Path) -> None:
    mlops_kit.export(mlp(), sample=TABLE, out=tmp_path / "bundle")
    with safe_open(tmp_path / "bundle" / "weights.safetensors", framework="np") as file:
        assert sorted(file.keys()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    definition = (tmp_path / "bundle" / "model.onnx").read_bytes()
    assert b".py" not in definition
    assert b"stack_trace" not in definition
    graph = onnx.load(tmp_path / "bundle" / "model.onnx", load_external_data=False).graph
    assert [d.dim_param for d in (*graph.input[0].type.tensor_type.shape.dim,)] == ["batch", ""]


class Branches(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class FixedRows(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.view(3, 4) * 2


class Centred(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - x.mean(0)


class Noisy(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(x)


class Nameless(nn.Module):
    def forward(self, *args: Any) -> Any:
        return args[0]


class Sized(nn.Module):
    def forward(self, x: Any) -> Any:
        return x, x.shape[1]


class Unwritten(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.svd(x.reshape(-1, 2, 2))[1]


X = {"x": floats(4)}
REFUSED = [
    ("no sample", mlp(), None, SampleError, "needs a sample"),
    ("too few columns", mlp(5), TABLE, SampleError, "cannot be multiplied"),
    ("text", mlp(), {**TABLE, "d": np.array(["x"] * 20, object)}, SampleError, "'d' holds none"),
    ("an input short", TwoInputs(), {"x": floats(3)}, MissingColumnsError, "'ids'"),
    ("inputs without names", Nameless(), X, SampleError, "names no inputs"),
    ("bfloat16", mlp().bfloat16(), TABLE, ConversionError, r"bfloat16.*\.float\(\)"),
    ("control flow on values", Branches(), X, ConversionError, "control flow depends on the values"),
    ("a fixed number of rows", FixedRows(), X, ConversionError, "forward\\(\\) fixes the number of rows"),
    ("rows that mix", Centred(), X, ConversionError, "depends on the other rows"),
    ("noise", Noisy(), X, ConversionError, "draws random numbers"),
    ("an output without rows", nn.LSTM(4, 5, batch_first=True), {"input": floats(2, 4)}, ConversionError,
     r"'output_1_0' has shape \(1, rows, 5\)"),
    ("an output that is no tensor", Sized(), X, ConversionError, "returns a int"),
    ("an operator without ONNX form", Unwritten(), X, ConversionError, "No ONNX function found for .*svd"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sample", "error", "message"), [pytest.param(*c[1:], id=c[0]) for c in REFUSED])
def test_refused(model: Any, sample: Any, error: type[MlkitError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        list(exporter.adapt(model, Sample(sample) if sample else None).conversions())
    assert len(str(caught.value)) < 500


def captured(model: Any, *inputs: Any, dynamic: bool = True) -> Any:
    shapes = tuple({0: torch.export.Dim("rows")} for _ in inputs) if dynamic else None
    return torch.export.export(model.eval(), tuple(torch.from_numpy(i) for i in inputs), dynamic_shapes=shapes)


def test_a_program_is_taken_as_it_is_from_memory_and_from_a_file(tmp_path: Path) -> None:
    program = captured(TwoInputs(), IDS["ids"], IDS["x"])
    torch.export.save(program, tmp_path / "network.pt2")
    for source, out in ((program, "one"), (tmp_path / "network.pt2", "two")):
        mlops_kit.export(source, sample=IDS, out=tmp_path / out)
        got = mlops_kit.load(tmp_path / out).predict(IDS)
        want = program.module()(torch.from_numpy(IDS["ids"]), torch.from_numpy(IDS["x"]))
        np.testing.assert_allclose(
            got["scores"], want["scores"].detach().numpy(), rtol=1e-4, atol=1e-6, strict=True
        )


@pytest.mark.parametrize(
    ("sample", "inputs"),
    [(None, [("input", (4,))]), (TABLE, [(n, ()) for n in "abcd"]), ({"input": floats(4)}, [("input", (4,))])],
)
def test_a_program_takes_its_columns_from_its_inputs_or_from_the_sample(sample: Any, inputs: Any) -> None:
    source = exporter.adapt(captured(mlp(), floats(4)), Sample(sample) if sample else None)
    assert [(c.name, c.shape) for c in source.columns] == inputs
    assert [o.name for o in next(source.conversions()).signature.outputs] == ["prediction"]


def test_a_program_may_have_another_dimension_that_varies() -> None:
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")
    program = torch.export.export(
        nn.Linear(4, 2).eval(), (torch.randn(3, 5, 4),), dynamic_shapes=({0: batch, 1: steps},)
    )
    signature = next(exporter.adapt(program, None).conversions()).signature
    assert signature.columns[0].shape == (None, 4)
    assert signature.outputs[0].shape == (None, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: captured(mlp(), floats(4), dynamic=False), "fixed number of rows.*dynamic_shapes"),
        (lambda: torch.export.export(nn.BatchNorm1d(4).train(), (torch.randn(3, 4),)), "training mode"),
    ],
)
def test_a_program_that_cannot_be_served_says_how_to_capture_it(make: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        exporter.adapt(make(), None)


PROGRAM = """
import sys, torch, mlops_kit
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    def forward(self, x, y):
        return {"p": self.a(x) + self.b(y), "q": self.a(y)}
torch.manual_seed(0)
net, rows = Net(), {"x": torch.arange(30.).reshape(10, 3).numpy(), "y": torch.ones(10, 3).numpy()}
for out in sys.argv[1:]:
    print(mlops_kit.export(net, sample=rows, out=out, name="net").bundle.digest)
"""


def test_the_same_network_gives_the_same_bytes_again_and_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["here", str(tmp_path / "a"), str(tmp_path / "b")])
    exec(PROGRAM, {"__name__": "here"})
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "c")],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = [*capsys.readouterr().out.split(), *ran.stdout.split()]
    assert len(digests) == 3
    assert len(set(digests)) == 1


def test_only_networks_and_programs_are_recognised() -> None:
    found = [
        exporter.recognises(thing) for thing in (mlp(), captured(mlp(), floats(4)), mlp().state_dict(), object())
    ]
    assert found == [True, True, False, False]


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"mlops-kit\[torch\]"):
        exporter.adapt(mlp(), Sample(TABLE))


def rows_of(columns: Columns, count: int) -> Columns:
    return {name: values[:count] for name, values in columns.items()}


def test_the_sample_may_have_one_row(tmp_path: Path) -> None:
    mlops_kit.export(mlp(), sample=rows_of(TABLE, 1), out=tmp_path / "bundle")
    assert mlops_kit.load(tmp_path / "bundle").predict(TABLE)["prediction"].shape == (20,)
