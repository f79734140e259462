import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mlops_kit.exporters.columnar import MOST_COLUMNS, expose_columns
from mlops_kit.exporters.interface import Conversion
from mlops_kit.schema import Column, Output, Signature, Tensor


def classifier(classes: int) -> Conversion:
    """Two inputs of shape (rows, 1), a label of shape (rows, 1) and a matrix of shape (rows, classes)."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["whole"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["number", "real"], ["label"]),
            helper.make_node("Tile", ["label", "repeats"], ["probability"]),
        ],
        "classifier",
        [
            helper.make_tensor_value_info("whole", TensorProto.INT64, [None, 1]),
            helper.make_tensor_value_info("real", TensorProto.FLOAT, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, classes]),
        ],
        [helper.make_tensor("repeats", TensorProto.INT64, [2], [1, classes])],
    )
    signature = Signature(
        (Column("whole", "int16"), Column("real", "float64")),
        (Tensor("whole", "int64", ("whole",), "matrix"), Tensor("real", "float32", ("real",), "matrix")),
        (
            Output("label", "float32", "label"),
            *(Output(f"probability_{i}", "float32", "probability", i) for i in range(classes)),
        ),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return Conversion(model, signature, "test")


def test_inputs_and_outputs_become_columns_of_one_dimension() -> None:
    exposed = expose_columns(classifier(3))
    session = onnxruntime.InferenceSession(exposed.graph.SerializeToString())
    feeds = {"whole": np.array([1, 2]), "real": np.array([0.5, 0.5])}
    assert [(i.type, i.shape) for i in session.get_inputs()] == [
        ("tensor(int64)", ["rows"]),
        ("tensor(double)", ["rows"]),
    ]
    names = [output.name for output in session.get_outputs()]
    assert names == ["label", "probability_0", "probability_1", "probability_2"]
    assert [answer.tolist() for answer in session.run(None, feeds)] == [[1.5, 2.5]] * 4


def test_the_signature_follows() -> None:
    signature = expose_columns(classifier(2)).signature
    assert [(t.name, t.dtype, t.layout) for t in signature.tensors] == [
        ("whole", "int64", "array"),
        ("real", "float64", "array"),
    ]
    assert all(output.index is None and output.tensor == output.name for output in signature.outputs)


@pytest.mark.parametrize("classes", [MOST_COLUMNS + 1])
def test_very_many_classes_stay_a_matrix(classes: int) -> None:
    exposed = expose_columns(classifier(classes))
    assert [output.name for output in exposed.graph.graph.output] == ["label", "probability"]
    assert exposed.signature.outputs[5].index == 4


def test_the_conversion_itself_is_left_as_it_was() -> None:
    conversion = classifier(2)
    before = conversion.graph.SerializeToString()
    expose_columns(conversion)
    assert conversion.graph.SerializeToString() == before
