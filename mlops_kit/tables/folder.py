"""A folder of Parquet files: `current` is a link to the generation that readers see.

OUT/current -> generations/NAME
OUT/generations/NAME/…          Parquet files, in the folders that the input had
OUT/.mlkit/manifests/NAME.json  what the generation is
"""

import fcntl
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.address import Address, advised_address
from mlops_kit.tables.durable import sync_folder, write_synced
from mlops_kit.tables.generation import Generation, is_generation_name
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.values import json_values

CURRENT, GENERATIONS, PRIVATE = "current", "generations", ".mlkit"
REPAIR = "run mlkit batch-predict again, which publishes anew what is not whole"


class DamagedGenerationError(StoreError):
    """What `current` points to is not as it was published."""


class GenerationManifest(msgspec.Struct, frozen=True):
    """What a generation is. `parts` are its files, relative to it; `before` is the one it was published over."""

    name: str
    digest: str
    predicted_at: str
    key: list[str]
    rows: int
    parts: list[str]
    before: str | None = None


def open_table(address: Address, _password: str) -> "FolderTable":
    """The table in this folder, which need not be there yet."""
    return FolderTable(Path(address.path))


def linked_generation(root: Path) -> str | None:
    """The generation that readers of the folder are led to, be it there or not."""
    link = root / CURRENT
    target = link.readlink() if link.is_symlink() else Path()
    return target.name if target.parent == Path(GENERATIONS) and is_generation_name(target.name) else None


class FolderTable:
    """A table in the file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self) -> Published | None:
        """The generation that `current` points to, if it is known what that is."""
        try:
            manifest = self._current_manifest()
        except DamagedGenerationError:
            return None
        return _published(manifest) if manifest else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Parts that lie in the generation's folder, as the batch mode writes them, stay where they are."""
        with self._alone():
            self._publish(generation, on_rows)
            self._retire(keep)

    def _publish(self, generation: Generation, on_rows: Callable[[int], None]) -> None:
        directory = self._directory(generation.name)
        before = self._current_name()
        if before != generation.name:
            parts = list(self._bring_in(generation, directory, on_rows))
            manifest = GenerationManifest(
                generation.name, generation.digest, generation.predicted_at, list(generation.key), generation.rows,
                parts, before,
            )  # fmt: skip
            write_synced(self._manifest_path(generation.name), msgspec.json.format(msgspec.json.encode(manifest)))
            self._switch(generation.name)

    def rollback(self) -> Published:
        """Point `current` at the generation before."""
        manifest = self._current_manifest()
        if manifest is None:
            raise self._nothing_published()
        before = self._read_manifest(manifest.before) if manifest.before else None
        if before is None:
            fix = "keep more of them next time with --keep-generations"
            raise UsageError(f"{self._root}: no generation before the current one is left", fix=fix)
        with self._alone():
            self._switch(before.name)
        return _published(before)

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """Reads the row groups whose statistics admit the key."""
        while manifest := self._current_manifest():
            _check_key(self._root, manifest.key, key)
            try:
                return self._find(manifest, key)
            except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
                if self._current_name() == manifest.name:
                    is_missing = isinstance(error, FileNotFoundError)
                    what = f"{self._root}: files of {manifest.name} are {'missing' if is_missing else 'damaged'}"
                    raise DamagedGenerationError(what, fix=REPAIR) from error
        raise self._nothing_published()

    def close(self) -> None:
        """Nothing is held open."""

    def _find(self, manifest: GenerationManifest, key: Sequence[str]) -> StoredPrediction | None:
        directory = self._directory(manifest.name)
        if not manifest.parts:
            return None
        parts = [directory / part for part in manifest.parts]
        schema = pq.read_schema(parts[0])
        condition = _key_condition(schema, manifest.key, key)
        if condition is None:
            return None
        # Polars, because Arrow's datasets import pandas.
        rows = pl.scan_parquet(parts, hive_partitioning=False, glob=False).filter(condition).head(1).collect()
        if rows.is_empty():
            return None
        # A date64 of Arrow's is a date in the file, and a time to Polars.
        dates = [field.name for field in schema if pa.types.is_date(field.type)]
        rows = rows.with_columns(pl.col(dates).cast(pl.Date))
        return StoredPrediction(json_values(rows), manifest.digest, manifest.predicted_at)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process publishes here. The kernel lets go of the lock when a process ends."""
        private = self._root / PRIVATE
        try:
            private.mkdir(parents=True, exist_ok=True)
            with (private / "publishing").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            fix = "make room, or let mlkit write there, and run again"
            raise StoreError(f"{self._root}: cannot be written", error.strerror or str(error), fix) from error

    def _bring_in(self, generation: Generation, directory: Path, on_rows: Callable[[int], None]) -> Iterator[str]:
        for index, part in enumerate(generation.parts):
            if part.is_relative_to(directory):
                yield str(part.relative_to(directory))
                continue
            name = f"{index:06d}-{part.name}"
            write_synced(directory / name, part.read_bytes())
            on_rows(pq.read_metadata(part).num_rows)
            yield name
        directory.mkdir(parents=True, exist_ok=True)
        for folder in (*(path for path in directory.rglob("*") if path.is_dir()), directory, directory.parent):
            sync_folder(folder)

    def _switch(self, name: str) -> None:
        """A link cannot be changed, but another can be renamed over it, and that is atomic."""
        link = self._root / f".{CURRENT}.{secrets.token_hex(4)}"
        link.symlink_to(Path(GENERATIONS) / name, target_is_directory=True)
        link.replace(self._root / CURRENT)
        sync_folder(self._root)

    def _retire(self, keep: int) -> None:
        kept: list[str] = []
        name = self._current_name()
        while name is not None and len(kept) < keep and (manifest := self._read_manifest(name)):
            kept.append(name)
            name = manifest.before
        for path in (self._root / PRIVATE / "manifests").glob("*.json"):
            if path.stem not in kept:
                path.unlink()
                shutil.rmtree(self._directory(path.stem), ignore_errors=True)
        for left in (*self._root.glob(f".{CURRENT}.*"), *(self._root / PRIVATE / "manifests").glob(".*")):
            left.unlink(missing_ok=True)

    def _nothing_published(self) -> UsageError:
        is_inside = self._root.name == CURRENT and self._root.is_symlink()
        fix = f"give {self._root.parent}" if is_inside else "mlkit batch-predict publishes"
        return UsageError(f"{self._root}: nothing was ever published there", fix=fix)

    def _current_name(self) -> str | None:
        try:
            return (self._root / CURRENT).readlink().name
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            fix = advised_address(self._root) or "check OUTPUT"
            raise StoreError(f"{self._root} is no folder", "it is a file, or lies in one", fix) from error
        except OSError as error:
            fix = "choose another --out, or remove it"
            raise UsageError(f"{self._root / CURRENT} is no link", "mlkit did not make it", fix) from error

    def _current_manifest(self) -> GenerationManifest | None:
        # A generation may be retired after its name was read; then there is another by now.
        while (name := self._current_name()) is not None:
            if manifest := self._read_manifest(name):
                return manifest
            if self._current_name() == name:
                what, why = f"{self._root}: {name} has no manifest", "somebody removed it"
                raise DamagedGenerationError(what, why, REPAIR)
        return None

    def _read_manifest(self, name: str) -> GenerationManifest | None:
        path = self._manifest_path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=GenerationManifest)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise DamagedGenerationError(f"{path}: damaged", str(error), REPAIR) from error

    def _manifest_path(self, name: str) -> Path:
        return self._root / PRIVATE / "manifests" / f"{name}.json"

    def _directory(self, name: str) -> Path:
        return self._root / GENERATIONS / name


def _published(manifest: GenerationManifest) -> Published:
    return Published(manifest.name, manifest.digest, manifest.predicted_at, manifest.rows)


def _check_key(root: Path, names: Sequence[str], key: Sequence[str]) -> None:
    if not names:
        raise UsageError(f"{root}: it has no key to look up by", fix="run again with --key COLUMNS")
    if len(names) != len(key):
        raise UsageError(f"{root}: its key is {', '.join(map(repr, names))}", f"{len(key)} values were given")


def _key_condition(schema: pa.Schema, names: Sequence[str], key: Sequence[str]) -> pl.Expr | None:
    """None where a value cannot be of the column's type, so that no row has it."""
    condition = pl.lit(True)
    for name, text in zip(names, key, strict=True):
        type_ = schema.field(name).type
        value_type = type_.value_type if pa.types.is_dictionary(type_) else type_
        try:
            value = pl.Series([text]).to_arrow().cast(value_type)
        except pa.ArrowException:
            return None
        condition &= pl.col(name) == pl.lit(pl.Series(value)).first()
    return condition
