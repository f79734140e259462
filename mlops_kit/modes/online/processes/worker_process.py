"""A worker as the supervisor sees it."""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from dataclasses import dataclass, field

from mlops_kit.errors import BundleError
from mlops_kit.modes.facts import error_of
from mlops_kit.modes.online.processes.messages import Channel, Prepare, Prepared, Switch

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end the server."""

MODULE = "mlops_kit.modes.online.processes.worker"


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """`digests` are those of the bundles that it serves, by name."""

    number: int
    process: asyncio.subprocess.Process
    channel: Channel
    digests: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    prepared: "asyncio.Future[Prepared] | None" = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, name: str, path: str, *, is_forced: bool = False) -> str:
        """Have it load a bundle beside the one that answers; returns the digest. Raises what it refuses with."""
        self.prepared = asyncio.get_running_loop().create_future()
        self.channel.send(Prepare(name, path, is_forced))
        gone = asyncio.create_task(self.gone.wait())
        await asyncio.wait((self.prepared, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not self.prepared.done():
            raise BundleError("the bundle", "the process that loaded it died")
        answer = self.prepared.result()
        if answer.refusal:
            raise error_of(answer.refusal)
        return answer.digest

    def switch(self, name: str, digest: str) -> None:
        """Have it answer with what it has prepared."""
        self.channel.send(Switch(name, is_taken=True))
        self.digests[name] = digest

    def refuse(self, name: str, refusal: str) -> None:
        """Have it forget what it may have prepared; `refusal` says why it does not have the newest."""
        self.channel.send(Switch(name, is_taken=False, refusal=refusal))

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def spawn_worker(number: int, listener: socket.socket, counters: int) -> WorkerProcess:
    """Start a process that inherits the port and the counters, and waits to be told what to be; one at a time."""
    mine, theirs = socket.socketpair()
    inherited = (theirs.fileno(), listener.fileno(), counters)
    # It is born with these blocked: signals are the supervisor's affair, also before a worker can say so itself.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    with theirs, contextlib.ExitStack() as born:
        born.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, *map(str, inherited), pass_fds=inherited
        )
    return WorkerProcess(number, process, await Channel.over(mine))
