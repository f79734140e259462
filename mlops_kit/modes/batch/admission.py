"""What a job is refused for before anything is read."""

from pathlib import Path

from mlops_kit.errors import UsageError
from mlops_kit.modes.batch.errors_file import check_errors_file
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources.resolve import KINDS
from mlops_kit.predictor import Predictor
from mlops_kit.tables.address import FOLDER, Address
from mlops_kit.tables.resolve import KEY_VALUE_STORES


def check_job(job: BatchJob, address: Address) -> None:
    """Raise UsageError for what cannot be carried out, or would destroy something."""
    if address.scheme in KEY_VALUE_STORES and not job.key:
        raise UsageError(f"{address}: no key", "a key-value store looks up by nothing else", "add --key COLUMNS")
    if not 0 <= job.most_bad <= 1:
        fix = "give a share from 0 to 1: 0.05 is 5 %"
        raise UsageError(f"--max-bad-rows {job.most_bad}: no share", fix=fix)
    if job.keep_generations < 1:
        why = "the current one must stay"
        raise UsageError(f"--keep-generations {job.keep_generations}", why, "give at least 1")
    if address.scheme == FOLDER:
        _check_folder(job, Path(address.path))
    if job.errors:
        check_errors_file(job.errors, job.input, Path(address.path) if address.scheme == FOLDER else None)


def check_features(job: BatchJob, predictor: Predictor) -> None:
    """Raise UsageError for what does not go without features."""
    has_features = predictor.bundle is not None and predictor.bundle.features is not None
    if job.time and not has_features:
        raise UsageError(f"--time {job.time}: nothing needs it", "the bundle has no features", "leave it out")


def _check_folder(job: BatchJob, out: Path) -> None:
    if out.suffix.lower() in KINDS and not out.is_dir():
        why = "predictions are published in a folder, whose newest files lie below its current/"
        raise UsageError(f"--out {out} is called like a file", why, f"write --out {out.with_suffix('')}")
    # The next run would read it; and a bundle has the files of its manifest, no others.
    for source, why in ((job.input, "the next run would read it"), (job.bundle, "a bundle does not change")):
        if source and Path(source).is_dir() and out.resolve().is_relative_to(Path(source).resolve()):
            raise UsageError(f"{out.resolve()} lies inside of {source}", why, "choose another --out")
