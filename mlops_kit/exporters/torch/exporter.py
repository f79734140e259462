"""PyTorch: a module with a sample of its inputs, or a program that torch.export has captured (.pt2)."""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlops_kit.errors import ConversionError, MissingExtraError, SourceError
from mlops_kit.exporters.graphs.inspection import real_inputs
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.torch.archive import clean_archive, is_archive
from mlops_kit.exporters.torch.graph import FAILURES, convert, quiet, reason_of
from mlops_kit.exporters.torch.network import Network, answer, of_module, of_program


def recognises(model: object) -> bool:
    """Whether it is a module or an exported program. Does not import PyTorch: whoever made one has."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    export = sys.modules.get("torch.export")
    return isinstance(model, torch.nn.Module) or (export is not None and isinstance(model, export.ExportedProgram))


def recognises_file(path: Path, head: bytes) -> bool:
    """Whether torch.export.save wrote it. A torch.save file is a pickle, and is not taken for one."""
    return is_archive(path, head)


def read(path: Path) -> object:
    """The program of a .pt2 file. Raises SourceError; executes nothing of it."""
    _require_torch()
    import torch

    archive = clean_archive(path)
    try:
        with quiet():
            return torch.export.load(archive)
    except FAILURES as error:
        raise SourceError(
            f"{path} cannot be read", reason_of(error), "save it again with the PyTorch that is installed here"
        ) from error


def adapt(model: object, sample: Sample | None) -> SourceModel:
    """Look at a module or a program. Raises SampleError, MissingColumnsError, or ConversionError."""
    _require_torch()
    import torch

    columns = sample.columns if sample else None
    network = of_module(model, columns) if isinstance(model, torch.nn.Module) else of_program(model, columns)
    return SourceModel(
        framework="PyTorch",
        versions={name: importlib.metadata.version(name) for name in ("torch", "onnxscript")},
        description=network.description,
        columns=network.signature.columns,
        reference=lambda rows: answer(network, rows),
        conversions=lambda: _conversions(network),
    )


def _require_torch() -> None:
    for package in ("torch", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "torch", "exporting a PyTorch model")


def _conversions(network: Network) -> Iterator[Conversion]:
    """The one ONNX form, in the network's own precision."""
    signature = network.signature
    inputs = {tensor.name for tensor in signature.tensors}
    graph = convert(
        network.program, [f"{o.name}_output" if o.name in inputs else o.name for o in signature.outputs]
    )
    given, taken = real_inputs(graph.graph), signature.tensors
    returned, wanted = graph.graph.output, signature.outputs
    if len(given) != len(taken) or len(returned) != len(wanted):
        raise ConversionError("PyTorch's ONNX graph has other inputs or outputs than the network")
    yield Conversion(
        graph,
        replace(
            signature,
            tensors=tuple(replace(t, name=v.name) for t, v in zip(taken, given, strict=True)),
            outputs=tuple(replace(o, tensor=v.name) for o, v in zip(wanted, returned, strict=True)),
        ),
        "the network's own precision",
    )
