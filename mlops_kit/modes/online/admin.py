"""Loading a model anew because a client asks for it: the supervisor does it, in all workers."""

import asyncio
from itertools import count

from mlops_kit.errors import NotReadyError
from mlops_kit.modes.facts import error_of
from mlops_kit.modes.online.processes.messages import Channel, LoadAsked, LoadDone


class Admin:
    """Asks the supervisor, and waits for what becomes of it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._tickets = count()
        self._waiting: dict[int, asyncio.Future[LoadDone]] = {}

    async def load(self, name: str, path: str | None, *, is_forced: bool) -> str:
        """The digest of what answers from now on. Raises BundleError or UsageError if it is refused."""
        ticket = next(self._tickets)
        self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._channel.send(LoadAsked(ticket, name, path, is_forced))
        try:
            done = await self._waiting[ticket]
        finally:
            del self._waiting[ticket]
        if done.refusal:
            raise error_of(done.refusal)
        return done.digest

    def give_up(self) -> None:
        """Nobody will answer any more."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NotReadyError("this server"))

    def settle(self, done: LoadDone) -> None:
        """The supervisor's answer."""
        future = self._waiting.get(done.ticket)
        if future and not future.done():
            future.set_result(done)
