"""The protocol's messages are compiled, and are those that Triton's client sends."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from tritonclient.grpc import service_pb2

from mlops_kit.modes.online.grpc.proto import messages
from tests.modes.online.grpc.compile_proto import compile_proto

OURS = 1000
"""Fields that Triton has not have such numbers, or greater ones."""

NAMES = list(messages.DESCRIPTOR.message_types_by_name)


def fields_of(message: Descriptor) -> dict[str, tuple[int, int, bool, str]]:
    return {field.name: (field.number, field.type, field.is_repeated, type_of(field)) for field in message.fields}


def type_of(field: FieldDescriptor) -> str:
    return field.message_type.full_name if field.message_type else ""


def test_what_is_compiled_is_what_the_source_says() -> None:
    found = FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(found)
    assert found == FileDescriptorSet.FromString(compile_proto()[0]).file[0]


@pytest.mark.parametrize("name", NAMES)
def test_fields_have_the_numbers_and_types_of_tritons(name: str) -> None:
    ours = messages.DESCRIPTOR.message_types_by_name[name]
    theirs = service_pb2.DESCRIPTOR.message_types_by_name[name]
    shared = {field: facts for field, facts in fields_of(ours).items() if facts[0] < OURS}
    assert shared.items() <= fields_of(theirs).items()
    for nested in ours.nested_types:
        if nested.GetOptions().map_entry and nested.name not in theirs.nested_types_by_name:
            continue
        assert fields_of(nested) == fields_of(theirs.nested_types_by_name[nested.name])


def test_calls_take_and_give_the_messages_of_tritons() -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for ours in messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        for kind in ("input_type", "output_type"):
            assert getattr(ours, kind).full_name == getattr(theirs[ours.name], kind).full_name
