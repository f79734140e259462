"""MLflow's scoring protocol: the body of /invocations, and its answer.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ describes the four JSON forms; a body has one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from mlops_kit.errors import InputError
from mlops_kit.modes.once.rows import nested_column, parse_rows
from mlops_kit.modes.online.protocols.json_body import parse_object
from mlops_kit.modes.online.protocols.media_types import JSON, media_type
from mlops_kit.modes.online.protocols.parquet_body import parse_parquet
from mlops_kit.modes.online.served_model import Request, ServedModel
from mlops_kit.schema import Array, Column

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def parse_body(model: ServedModel, content_type: str, body: bytes, most: int) -> Request:
    """Raises InputError for what is not of the protocol, or does not fit the model; UnsupportedMediaTypeError;
    TooLargeError for Parquet of more than `most` values.
    """
    found = media_type(content_type, (JSON, CSV, PARQUET))
    if found == CSV:
        return model.columns(parse_rows(body, model.signature, "csv", model.optional).columns)
    if found == PARQUET:
        return model.columns(parse_parquet(body, model.signature.columns, most))
    return _parse_json(model, body)


def format_answer(model: ServedModel, outputs: Sequence[Array]) -> bytes:
    """A record for each row, as a pandas frame of the outputs would be written."""
    names = [output.name for output in model.signature.outputs]
    if len(names) == 1 and outputs[0].ndim == 1 and len(outputs[0]) == 1:
        return orjson.dumps({"predictions": [{names[0]: outputs[0].item()}]})
    lists = [values.tolist() for values in outputs]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return orjson.dumps({"predictions": rows})


def _parse_json(model: ServedModel, body: bytes) -> Request:
    """Of `params`, only the time of a request is read, as MLflow ignores those of a model that declares none."""
    document = parse_object(body)
    forms = [form for form in FORMS if form in document]
    if len(forms) != 1:
        found = " and ".join(forms) or "none of them"
        raise InputError("the body must have exactly one of " + ", ".join(FORMS), f"it has {found}")
    request = _READERS[forms[0]](model, document[forms[0]])
    if isinstance(parameters := document.get("params"), dict):
        model.set_time(request, parameters)
    return request


def _read_split(model: ServedModel, frame: Any) -> Request:
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
        raise InputError("dataframe_split is no object with columns and data")
    names, data = frame.get("columns"), frame["data"]
    if names is None:
        names = model.needed_names
    elif names != model.needed_names:
        _check_names(names)
    if not all(type(row) is list and len(row) == len(names) for row in data):
        raise InputError("the rows of dataframe_split are not as long as its columns")
    if len(data) == 1:
        return model.row(dict(zip(names, data[0], strict=True)))
    return _columns(model, _turned(names, data), len(data))


def _check_names(names: Any) -> None:
    if not isinstance(names, list) or set(map(type, names)) - {str}:
        raise InputError("the columns of dataframe_split are no list of names")
    if len(set(names)) < len(names):
        raise InputError("two columns of dataframe_split have the same name")


def _read_records(model: ServedModel, records: Any) -> Request:
    if not isinstance(records, list) or not all(type(record) is dict for record in records):
        raise InputError("the records are no list of objects")
    if len(records) == 1:
        return model.row(records[0])
    names = [*model.needed_names]
    if short := next((name for name in names for record in records if name not in record), None):
        raise InputError(f"a record has no {short!r}", fix="send every column in every record")
    names += [name for name in model.optional if any(name in record for record in records)]
    return _columns(model, {name: [record.get(name) for record in records] for name in names}, len(records))


def _read_instances(model: ServedModel, instances: Any) -> Request:
    if isinstance(instances, list) and instances and type(instances[0]) is dict:
        return _read_records(model, instances)
    return _read_matrix(model, instances)


def _read_inputs(model: ServedModel, inputs: Any) -> Request:
    if isinstance(inputs, list):
        return _read_instances(model, inputs)
    if not isinstance(inputs, dict):
        raise InputError("inputs is neither a list nor an object of columns")
    shapes = {column.name: column.shape for column in model.signature.columns}
    if all(not isinstance(inputs.get(name), list) for name, shape in shapes.items() if not shape) and not all(
        shapes.values()
    ):
        return model.row(inputs)
    if single := next((name for name in shapes if not isinstance(inputs.get(name, []), list)), None):
        raise InputError(
            f"column {single!r} of inputs is one value, and others are lists", fix="send a list for each column"
        )
    lengths = {len(values) for values in inputs.values() if isinstance(values, list)}
    if len(lengths) > 1:
        raise InputError("the columns of inputs differ in length")
    return _columns(model, inputs, lengths.pop() if lengths else 0)


def _read_matrix(model: ServedModel, rows: Any) -> Request:
    """Rows without names: the columns in the signature's order, or the one tensor."""
    columns = model.needed
    if not isinstance(rows, list):
        raise InputError("instances is no list")
    if len(columns) == 1:
        return _columns(model, {columns[0].name: rows}, len(rows))
    if not all(type(row) is list and len(row) == len(columns) for row in rows):
        raise InputError(f"the model takes {len(columns)} values in a row", fix="send them in the model's order")
    names = [column.name for column in columns]
    if len(rows) == 1:
        return model.row(dict(zip(names, rows[0], strict=True)))
    return _columns(model, _turned(names, rows), len(rows))


def _turned(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Rows as columns."""
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def _columns(model: ServedModel, lists: Mapping[str, Any], rows: int) -> Request:
    columns = model.signature.columns
    return model.columns(
        {column.name: _column(lists[column.name], column, rows) for column in columns if column.name in lists}
    )


def _column(values: Any, column: Column, rows: int) -> Array:
    if not column.shape:
        array = np.empty(rows, object)
        array[:] = values
        return array
    if not rows:
        return np.empty((0, *(size or 0 for size in column.shape)))
    return nested_column(values, column)


_READERS = {
    "dataframe_split": _read_split,
    "dataframe_records": _read_records,
    "instances": _read_instances,
    "inputs": _read_inputs,
}
