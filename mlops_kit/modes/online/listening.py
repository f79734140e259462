"""The ports, which all workers share."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.job import ServeJob

BACKLOG = 2048

HANDSHAKES_S = 0.25
"""How long those that have begun to connect may take to be connected."""

SO_ATTACH_FILTER = 26
"""Linux's, which Python does not name."""

FLAGS_AT, SYN, SYN_OR_ACK = 13, 0x02, 0x12
LOAD, AND, JUMP_IF_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06
EVERYTHING = 0xFFFFFFFF
STEP = struct.Struct("HBBI")
WITHOUT_SYN = b"".join(
    STEP.pack(*step)
    for step in (
        (LOAD, 0, 0, FLAGS_AT),
        (AND, 0, 0, SYN_OR_ACK),
        (JUMP_IF_EQUAL, 0, 1, SYN),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, EVERYTHING),
    )
)
"""A packet filter that drops what asks for a new connection, and lets the rest of TCP through.

https://www.kernel.org/doc/html/latest/networking/filter.html
"""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any that is free. Raises UsageError if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}", error.strerror or str(error), "check --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --port or --host") from error
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port for the processes that will listen on it; port 0 is any that is free.

    Raises UsageError if somebody else has it: sharing a port needs no consent of those who have it already.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --grpc-port") from error
    return held


async def turn_away(listener: socket.socket) -> None:
    """Let nobody else connect, and wait until those are connected who have begun to.

    Closing a listening socket resets whoever has connected since the last look, and where many come there always
    is somebody. After this, there is nobody: packets that ask for a connection are dropped, and a client that asks
    again a second later is refused. Systems other than Linux cannot do so.
    """
    if sys.platform != "linux":
        return
    steps = ctypes.create_string_buffer(WITHOUT_SYN)
    program = struct.pack("HP", len(WITHOUT_SYN) // STEP.size, ctypes.addressof(steps))
    with contextlib.suppress(OSError):  # a kernel without packet filters
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        await asyncio.sleep(HANDSHAKES_S)


def accept_rest(listener: socket.socket) -> list[socket.socket]:
    """Close a listening socket, and return the connections that nobody has accepted yet: they would be reset.

    Only the last process that closes it has to be so careful, and none knows which one that is.
    """
    found = []
    with listener:
        listener.setblocking(False)
        for _ in range(BACKLOG):
            try:
                found.append(listener.accept()[0])
            except OSError:  # there are no more, or there is no room for more
                break
    return found


def addresses(job: ServeJob, listener: socket.socket) -> tuple[str, str]:
    """The URLs of HTTP and gRPC, for people to copy."""
    end = "s" if job.tls else ""
    return _url("http" + end, *listener.getsockname()[:2]), _url("grpc" + end, *job.grpc_address)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
