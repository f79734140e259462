"""The ports, which all workers share."""

import socket

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.job import ServeJob

BACKLOG = 2048


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
