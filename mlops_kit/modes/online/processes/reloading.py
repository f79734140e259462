"""Changing a model in all workers at once: every one of them has it ready, or none takes it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from mlops_kit.bundle.locate import Located
from mlops_kit.errors import BundleError, MlkitError, NotReadyError
from mlops_kit.modes.facts import facts_of
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.processes.followed import Followed, Following
from mlops_kit.modes.online.processes.messages import LoadAsked, LoadDone
from mlops_kit.modes.online.processes.references import fetch_below
from mlops_kit.modes.online.processes.worker_process import WorkerProcess

log = logging.getLogger("mlkit.serve")

WATCH_S = 1.0
"""How often `--watch` looks."""

MISSES = 2
"""A link may point nowhere for one look; the next one tells of it, once."""


class Reloading:
    """`workers` gives those that live; `slot` is where the supervisor counts."""

    def __init__(
        self,
        following: Following,
        model_root: str | None,
        workers: Callable[[], Iterable[WorkerProcess]],
        layout: Layout,
        slot: "memoryview[float]",
    ) -> None:
        self._following = following
        self._model_root = model_root
        self._workers = workers
        self._layout = layout
        self._slot = slot
        self._changing = asyncio.Lock()

    async def watch(self) -> None:
        """Run for ever: load what has changed. What was refused is not tried again until it changes."""
        while True:
            await asyncio.sleep(WATCH_S)
            for name, model in self._following.items():
                await self._look(name, model)

    async def load_asked(self, asked: LoadAsked) -> LoadDone:
        """A client's wish."""
        try:
            return LoadDone(asked.ticket, await self.load(asked.name, asked.path, is_forced=asked.is_forced))
        except MlkitError as error:
            return LoadDone(asked.ticket, refusal=facts_of(error))

    async def load(self, name: str, path: str | None = None, *, is_forced: bool = False) -> str:
        """Fetch a bundle anew, or take one below the model root, and let all workers serve it; returns its digest.

        Raises BundleError, UsageError or NotReadyError, and the one before goes on.
        """
        if not self._slot[self._layout.is_ready]:
            raise NotReadyError(name)  # a worker that starts may still be reading the files of the one before
        async with self._changing:
            if path is not None:  # A wrong one is the client's affair: no bundle is refused.
                files = await asyncio.to_thread(fetch_below, self._model_root, path)
            try:
                if path is None:
                    files = await asyncio.to_thread(self._following[name].reference.fetch)
                digest = await self._roll_out(name, files, self._ready(), is_forced=is_forced)
            except NotReadyError:
                raise
            except MlkitError as error:
                self._refuse(name, error)
                raise
            self._take(name, files, digest)
            return digest

    async def catch_up(self, worker: WorkerProcess) -> None:
        """A worker that was just started may have missed a change, or met another bundle at the same place."""
        async with self._changing:
            try:
                for name, model in self._following.items():
                    await self._align(worker, name, model)
            except MlkitError as error:
                log.error("worker %s cannot load what the others serve: %s", worker.number, error)  # noqa: TRY400
                worker.kill()
                return
            worker.is_ready = True

    async def _align(self, worker: WorkerProcess, name: str, model: Followed) -> None:
        model.digest = model.digest or worker.digests[name]
        if worker.digests[name] != model.digest:
            # What the others serve is not a matter of choice any more.
            digest = await worker.prepare(name, model.path, is_forced=True)
            if digest == model.digest:
                worker.switch(name, digest)
            else:
                await self._agree(worker, name, model)
        if model.refusal:
            worker.refuse(name, model.refusal)

    async def _agree(self, worker: WorkerProcess, name: str, model: Followed) -> None:
        """Its files are not those that the others have loaded, who take them if their clients can go on."""
        try:
            digest = await self._roll_out(name, model.files, (worker, *self._ready()), is_forced=False)
        except MlkitError as error:
            self._refuse(name, error)
            raise
        self._take(name, model.files, digest)

    async def _look(self, name: str, model: Followed) -> None:
        try:
            seen = await asyncio.to_thread(model.reference.identify)
        except MlkitError as error:
            model.misses += 1
            if model.misses == MISSES:
                log.warning(
                    "model %s: there is nothing to follow, the one that is loaded goes on: %s", name, error
                )
            return
        model.misses = 0
        if not model.settling.is_due(seen):
            return
        try:
            await self.load(name)
        except NotReadyError:
            return  # it is tried again
        except MlkitError:
            model.settling.settle(seen, is_taken=False)  # it was told of where it was refused
        else:
            model.settling.settle(seen, is_taken=True)

    def _ready(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers() if worker.is_ready]

    async def _roll_out(
        self, name: str, files: Located, workers: Sequence[WorkerProcess], *, is_forced: bool
    ) -> str:
        """One worker goes first: what kills the process that loads it kills no other. Returns the digest."""
        if not workers:
            raise NotReadyError(name)
        path = str(files.directory)
        first, *others = workers
        try:
            digest = await first.prepare(name, path, is_forced=is_forced)
            prepared = await asyncio.gather(
                *(worker.prepare(name, path, is_forced=is_forced) for worker in others), return_exceptions=True
            )
            for worker, outcome in zip(others, prepared, strict=True):
                if isinstance(outcome, BaseException) and not worker.gone.is_set():
                    raise outcome
                if isinstance(outcome, str) and outcome != digest:
                    raise BundleError(
                        "the bundle", "it changed while it was loaded", "load it again when it rests"
                    )
        except MlkitError:
            for worker in workers:
                worker.refuse(name, self._following[name].refusal)
            raise
        for worker in workers:
            worker.switch(name, digest)
        return digest

    def _take(self, name: str, files: Located, digest: str) -> None:
        """From now on it is what all serve."""
        model = self._following[name]
        if digest == model.digest:
            log.info("model %s: %s is served already", name, digest)
        else:
            log.info("model %s: %s is served from now on", name, digest)
            self._slot[self._layout.models[name].reloads] += 1
        model.files, model.digest, model.refusal = files, digest, ""

    def _refuse(self, name: str, error: MlkitError) -> None:
        """The log has all of it. Clients are not told where anything lies on this machine."""
        log.error("model %s: the new bundle is refused, the old one goes on: %s", name, error)
        self._slot[self._layout.models[name].refusals] += 1
        refusal = str(error)
        if "/" in refusal:  # a path, or a URI
            refusal = f"{type(error).__name__}: the server's log says why"
        self._following[name].refusal = refusal
        for worker in self._workers():
            worker.refuse(name, refusal)
