"""A module or an exported program as one thing: what goes in, what comes out, and how to run it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_kit.assembly import assemble
from mlops_kit.errors import ConversionError, SampleError
from mlops_kit.exporters.graphs.inputs import GraphInput, bind_columns
from mlops_kit.exporters.graphs.inspection import output_of
from mlops_kit.exporters.torch.graph import (
    FAILURES,
    capture,
    input_values,
    is_training,
    output_values,
    quiet,
    reason_of,
)
from mlops_kit.exporters.torch.inputs import Forward, bind, some_rows
from mlops_kit.schema import DTYPES, Array, Columns, Output, Signature

if TYPE_CHECKING:
    import torch

TRACED_ROWS = 3
DYNAMIC_EXPORT = 'torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))'


@dataclass(frozen=True, slots=True)
class Network:
    """`run` takes tensors by the names of the signature's, in its order, and gives what forward() returns."""

    description: str
    signature: Signature
    program: "torch.export.ExportedProgram"
    run: Callable[[Mapping[str, "torch.Tensor"]], object]


def of_module(module: "torch.nn.Module", sample: Columns | None) -> Network:
    """A module, captured in evaluation mode on the CPU; the caller's object is left as it is."""
    if sample is None:
        raise SampleError(
            "a PyTorch module needs a sample of its inputs",
            "it does not say itself which shapes it takes",
            "give some rows with --sample, or save the module with torch.export.save",
        )
    own = _own_copy(module)

    def run(tensors: Mapping[str, "torch.Tensor"]) -> object:
        return own(**tensors)

    forward = Forward.of(own.forward, _weights_dtype(own))
    signature = bind(forward, sample, lambda trial: _run(run, trial, some_rows(sample, TRACED_ROWS)))
    program = capture(own, _tensors(signature, some_rows(sample, TRACED_ROWS)))
    order = list(program.call_spec.in_spec.children()[1].context)
    signature = replace(signature, tensors=tuple(sorted(signature.tensors, key=lambda t: order.index(t.name))))
    size = sum(parameter.numel() for parameter in own.parameters())
    return _complete(Network(f"{type(module).__name__}, {size:,} parameters", signature, program, run), sample)


def of_program(program: "torch.export.ExportedProgram", sample: Columns | None) -> Network:
    """An exported program as it is. Raises ConversionError where its number of rows is fixed."""
    from torch.export.passes import move_to_device_pass
    from torch.utils._pytree import tree_unflatten

    if is_training(program):
        raise ConversionError(
            "the program was captured in training mode",
            "its dropout drops, or its normalisation takes the batch's statistics",
            f"capture it again: {DYNAMIC_EXPORT}",
        )
    program = move_to_device_pass(program, "cpu")
    signature = bind_columns(list(_graph_inputs(program)), sample, nullable=False)
    module = program.module()

    def run(tensors: Mapping[str, "torch.Tensor"]) -> object:
        # Where the program was captured without an input, the value it was captured with stands for it.
        leaves = [tensors.get(i, i) if isinstance(i, str) else i for i in program.graph_signature.user_inputs]
        args, kwargs = tree_unflatten(leaves, program.call_spec.in_spec)
        return module(*args, **kwargs)

    size = sum(tensor.numel() for tensor in program.state_dict.values())
    return _complete(Network(f"exported program, {size:,} parameters", signature, program, run), sample)


def answer(network: Network, columns: Columns) -> dict[str, Array]:
    """Run the original on columns. Raises InputError, or whatever forward() raises."""
    found = dict(_named(_run(network.run, network.signature, columns)))
    return {output.name: _column(found[output.name], output) for output in network.signature.outputs}


def _run(run: Callable[[Mapping[str, "torch.Tensor"]], object], signature: Signature, columns: Columns) -> object:
    import torch

    with quiet(), torch.no_grad():
        return run(_tensors(signature, columns))


def _tensors(signature: Signature, columns: Columns) -> dict[str, "torch.Tensor"]:
    import torch

    # A copy, because forward() may write into its input, and a column may be read-only.
    return {
        name: torch.from_numpy(np.array(array, order="C")) for name, array in assemble(signature, columns).items()
    }


def _column(tensor: "torch.Tensor", output: Output) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array.reshape(len(array)) if output.shape == () else array


def _complete(network: Network, sample: Columns | None) -> Network:
    """The network with its outputs in the signature, after a look at whether rows are independent."""
    network = replace(network, signature=replace(network.signature, outputs=tuple(_outputs(network.program))))
    if sample is not None:
        _check_rows(network, some_rows(sample, TRACED_ROWS))
    return network


def _outputs(program: "torch.export.ExportedProgram") -> Iterator[Output]:
    from torch.utils._pytree import tree_unflatten

    batch = str(next(iter(input_values(program).values())).shape[0])
    for name, tensor in _named(tree_unflatten(output_values(program), program.call_spec.out_spec)):
        if not tensor.shape or str(tensor.shape[0]) != batch:
            shape = ", ".join("rows" if str(size) == batch else str(size) for size in tensor.shape)
            raise ConversionError(
                f"output {name!r} has shape ({shape})",
                "a prediction has the rows as its first dimension",
                "wrap the network in a module that returns only predictions",
            )
        yield output_of(name, _dtype_name(tensor.dtype, f"output {name!r}"), name, _row_shape(tensor))


def _named(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor that forward() returns, with its name: a dict's key, or its place in a tuple."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name or "prediction", value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _named(part, f"{name}_{key}" if name else str(key))
    elif isinstance(value, tuple | list):
        keys = getattr(value, "_fields", range(len(value)))
        for key, part in zip(keys, value, strict=True):
            yield from _named(part, f"{name}_{key}" if name else key if isinstance(key, str) else f"output_{key}")
    elif value is not None:
        raise ConversionError(f"forward() returns a {type(value).__name__}", "a prediction is a tensor")


def _graph_inputs(program: "torch.export.ExportedProgram") -> Iterator[GraphInput]:
    values = input_values(program)
    if not values:
        raise ConversionError("the program takes no tensors")
    batches = {str(value.shape[0]) if value.shape else "no" for value in values.values()}
    if len(batches) > 1 or all(isinstance(value.shape[0], int) for value in values.values() if value.shape):
        sizes = ", ".join(f"{name}: {size}" for name, size in zip(values, sorted(batches), strict=False))
        raise ConversionError(
            "the program takes a fixed number of rows",
            f"the first dimension of its inputs is not one that varies ({sizes})",
            f"capture it again: {DYNAMIC_EXPORT}",
        )
    for name, value in values.items():
        yield GraphInput(name, _dtype_name(value.dtype, f"input {name!r}"), _row_shape(value))


def _row_shape(tensor: "torch.Tensor") -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in tensor.shape[1:])


def _check_rows(network: Network, rows: Columns) -> None:
    """Refuse a network whose answer for a row is not a function of that row."""
    together, again = answer(network, rows), answer(network, rows)
    alone = answer(network, some_rows(rows, 1))
    for name, values in together.items():
        if values.dtype.kind == "f" and not np.array_equal(values, again[name], equal_nan=True):
            raise ConversionError(
                f"output {name!r} differs between two runs on the same rows",
                "forward() draws random numbers even in evaluation mode",
                "pass training=self.training to functional dropout, and draw no noise in forward()",
            )
        if values.dtype.kind == "f" and not _agree(values[:1], alone[name]):
            raise ConversionError(
                f"output {name!r} of a row depends on the other rows",
                "alone it is answered differently than among others",
                "reduce and normalise over the other dimensions, never over the first",
            )


def _agree(left: Array, right: Array) -> bool:
    scale = float(np.abs(left[np.isfinite(left)]).max(initial=0.0))
    return np.allclose(left, right, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)


def _own_copy(module: "torch.nn.Module") -> "torch.nn.Module":
    # torch.compile wraps the module that it compiles.
    module = getattr(module, "_orig_mod", module)
    try:
        return copy.deepcopy(module).to("cpu").eval()
    except FAILURES as error:
        raise ConversionError(f"{type(module).__name__} cannot be copied", reason_of(error)) from error


def _weights_dtype(module: "torch.nn.Module") -> str:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return _dtype_name(tensor.dtype, type(module).__name__)
    return "float32"


def _dtype_name(dtype: "torch.dtype", of: str) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConversionError(f"{of} is of dtype {name}", "columns have no such dtype", "convert it with .float()")
    return name
