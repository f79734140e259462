"""Changing a model in all workers at once: every one of them has it ready, or none takes it."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from mlops_kit.errors import MlkitError, NotReadyError
from mlops_kit.modes.facts import facts_of
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.processes.messages import LoadDone, Switch
from mlops_kit.modes.online.processes.references import below, make_reference
from mlops_kit.modes.online.processes.worker_process import WorkerProcess

log = logging.getLogger("mlkit.serve")

WATCH_S = 1.0
"""How often `--watch` looks."""


class Reloading:
    """`workers` gives those that live; `slot` is where the supervisor counts."""

    def __init__(
        self,
        job: ServeJob,
        workers: Callable[[], Iterable[WorkerProcess]],
        layout: Layout,
        slot: "memoryview[float]",
    ) -> None:
        self.current: dict[str, str] = {}
        """What workers serve: name → path."""
        self._references = {name: make_reference(text) for name, text in job.models.items()}
        self._model_root = job.model_root
        self._workers = workers
        self._layout = layout
        self._slot = slot
        self._seen: dict[str, str] = {}
        self._changing = asyncio.Lock()

    async def fetch_all(self) -> None:
        """Find every bundle for the first time. Raises UsageError."""
        for name, reference in self._references.items():
            self._seen[name] = await asyncio.to_thread(reference.identify)
            self.current[name] = await asyncio.to_thread(reference.fetch)

    async def watch(self) -> None:
        """Run for ever: load what has changed. What was refused is not tried again until it changes."""
        while True:
            await asyncio.sleep(WATCH_S)
            for name in self._references:
                await self._look(name)

    async def load_asked(self, ticket: int, name: str, path: str | None) -> LoadDone:
        """A client's wish."""
        try:
            return LoadDone(ticket, await self.load(name, path))
        except MlkitError as error:
            return LoadDone(ticket, refusal=facts_of(error))

    async def load(self, name: str, path: str | None = None) -> str:
        """Fetch a bundle anew, or take one below the model root, and let all workers serve it; returns its digest.

        Raises BundleError or UsageError, and the one before goes on.
        """
        async with self._changing:
            try:
                if path is None:
                    found = await asyncio.to_thread(self._references[name].fetch)
                else:
                    found = below(self._model_root, path)
                digest = await self._roll_out(name, found)
            except NotReadyError:
                raise
            except MlkitError as error:
                self._refuse(name, error)
                self._references[name].keep(self.current[name])
                raise
            self.current[name] = found
            self._references[name].keep(found)
            self._slot[self._layout.models[name].reloads] += 1
            log.info("model %s: %s is served from now on", name, digest)
            return digest

    async def catch_up(self, worker: WorkerProcess) -> None:
        """A worker that was just started may have missed a change."""
        async with self._changing:
            try:
                for name, path in self.current.items():
                    if worker.loaded[name] != path:
                        await worker.prepare(name, path)
                        worker.switch(name, path)
            except MlkitError as error:
                log.error("worker %s cannot load what the others serve: %s", worker.number, error)  # noqa: TRY400
                worker.kill()
                return
            worker.is_ready = True

    async def _look(self, name: str) -> None:
        try:
            identity = await asyncio.to_thread(self._references[name].identify)
        except MlkitError as error:
            # A link may point nowhere for a moment.
            log.debug("model %s: %s", name, error)
            return
        if identity == self._seen[name]:
            return
        try:
            await self.load(name)
        except NotReadyError:
            return  # it is tried again
        except MlkitError:
            pass  # it was told of where it was refused
        self._seen[name] = identity

    async def _roll_out(self, name: str, path: str) -> str:
        """One worker goes first: what kills the process that loads it kills no other."""
        ready = [worker for worker in self._workers() if worker.is_ready]
        if not ready:
            raise NotReadyError(name)
        first, *others = ready
        digest = await first.prepare(name, path)
        outcomes = await asyncio.gather(*(worker.prepare(name, path) for worker in others), return_exceptions=True)
        for worker, outcome in zip(others, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not worker.gone.is_set():
                raise outcome
        for worker in (first, *others):
            worker.switch(name, path)
        return digest

    def _refuse(self, name: str, error: MlkitError) -> None:
        log.error("model %s: the new bundle is refused, the old one goes on: %s", name, error)
        self._slot[self._layout.models[name].refusals] += 1
        for worker in self._workers():
            worker.channel.send(Switch(name, is_taken=False, refusal=str(error)))
