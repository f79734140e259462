"""From bytes to the protocol's messages.

It is not left to gRPC, so that a message that cannot be read is the caller's mistake.
"""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mlops_kit.errors import InputError

Asked = TypeVar("Asked", bound=Message)


def parse(kind: type[Asked], data: bytes) -> Asked:
    """Raises InputError."""
    try:
        message: Asked = kind.FromString(data)
    except DecodeError as error:
        raise InputError(f"the message is no {kind.DESCRIPTOR.full_name}") from error
    return message
