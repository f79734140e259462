"""Export: adapt the model, convert it, compare it with the original, and only then write the bundle."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_kit.bundle import archive, mlflow_registry
from mlops_kit.bundle.bundle import Bundle, open_bundle
from mlops_kit.bundle.files import describe_file, refuse_existing, staged
from mlops_kit.bundle.goldens import write_goldens
from mlops_kit.bundle.graph import foreign_operators
from mlops_kit.bundle.locate import load_bundle
from mlops_kit.bundle.manifest import FILE_NAME as MANIFEST
from mlops_kit.bundle.manifest import Manifest, Source
from mlops_kit.bundle.mlmodel import FILE_NAME as MLMODEL
from mlops_kit.bundle.mlmodel import describe_for_mlflow
from mlops_kit.bundle.weights import count_parameters, split_weights
from mlops_kit.errors import ConversionError, MissingColumnsError, UsageError
from mlops_kit.exporters.columnar import expose_columns
from mlops_kit.exporters.features import choose_features, left_out, unfilled
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.reference import reference_rows
from mlops_kit.exporters.resolve import exporter_of
from mlops_kit.exporters.samples import read_sample, refuse_unsupported
from mlops_kit.exporters.sources import read_source
from mlops_kit.exporters.trial import Trial, choose_conversion
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.definition.frozen import FILE_NAME as FEATURES
from mlops_kit.features.definition.frozen import freeze
from mlops_kit.features.definition.loading import load_definition
from mlops_kit.parity import DEFAULT_TOLERANCE, check_tolerance


@dataclass(frozen=True, slots=True)
class Exported:
    """The bundle that was written, its version in the registry if it was registered, and the features that were
    left out because they are no columns of the model.
    """

    bundle: Bundle
    registered_version: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Features that may be null where the model takes no missing value."""
        features = self.bundle.features
        return () if features is None else unfilled(features, self.bundle.manifest.signature.columns)


def export(
    model: object,
    *,
    out: str | Path,
    sample: Any = None,
    target: str | None = None,
    name: str | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    trust_pickle: bool = False,
    register: str | None = None,
    features: str | Path | FeatureSet | None = None,
) -> Exported:
    """Export a trained model into a bundle at `out`, a new directory or a `.mlkit` archive.

    `model` is a fitted model, or what the command line takes: a file, `train.py:model`, an MLflow URI.
    `sample` has rows like those it was trained on (a file, a frame, or columns by name), from which come the
    columns' names and dtypes and the rows to compare the answers on. Beyond `tolerance` (relative, see
    `parity.py`) the export fails. `register` is `models:/NAME`. `features` is a definition or a Python file with
    one, which is executed; those that are columns of the model go into the bundle, as data.

    Raises SourceError, SampleError, ConversionError, ParityError, UsageError; then nothing is written.
    """
    out = Path(out)
    refuse_existing(out)
    check_tolerance(tolerance)
    if register is not None:
        mlflow_registry.check_register_uri(register)
    if target is not None and sample is None:
        raise UsageError(
            f"a target {target!r} without a sample", "the target is a column of the sample", "give --sample"
        )
    if isinstance(features, (str, Path)):
        features = load_definition(features)
    if isinstance(model, (str, Path)):
        model = read_source(model, trust_pickle)
    rows = None if sample is None else read_sample(sample, target)
    source = _adapt(model, rows)
    chosen = None if features is None else choose_features(features, source.columns)
    trial = choose_conversion(source, reference_rows(source, rows), tolerance)
    bundle = _write(out, name or _default_name(out), source, trial, chosen)
    others = () if features is None or chosen is None else left_out(features, chosen)
    if register is None:
        return Exported(bundle, left_out=others)
    tags = {"mlkit.digest": bundle.digest, "mlkit.name": bundle.manifest.name}
    return Exported(bundle, mlflow_registry.register(bundle.directory, register, tags), others)


def _adapt(model: object, sample: Sample | None) -> SourceModel:
    exporter = exporter_of(model)
    try:
        source = exporter.adapt(model, sample)
    except MissingColumnsError as error:
        if sample is not None:
            refuse_unsupported(sample, error)
        raise
    return replace(source, conversions=lambda: _exposed(source))


def _exposed(source: SourceModel) -> Iterator[Conversion]:
    for conversion in source.conversions():
        exposed = expose_columns(conversion)
        if foreign := foreign_operators(exposed.graph):
            domain, operator = foreign[0]
            raise ConversionError(
                f"the graph calls {operator} of the domain {domain!r}",
                "which the runtime does not have",
                "convert the model with standard ONNX operators only",
            )
        yield exposed


def _write(out: Path, name: str, source: SourceModel, trial: Trial, features: FeatureSet | None) -> Bundle:
    if out.suffix != archive.SUFFIX:
        with staged(out) as directory:
            _fill(directory, name, source, trial, features)
        return open_bundle(out)
    with tempfile.TemporaryDirectory(prefix="mlkit-") as directory:
        folder = Path(directory)
        manifest = _fill(folder, name, source, trial, features)
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        archive.write_archive(folder, manifest, out)
    return load_bundle(out)


def _fill(directory: Path, name: str, source: SourceModel, trial: Trial, features: FeatureSet | None) -> Manifest:
    conversion = trial.conversion
    split_weights(conversion.graph, directory)
    write_goldens(directory, trial.golden_rows, trial.golden_answers)
    (directory / MLMODEL).write_text(describe_for_mlflow(conversion.signature), encoding="utf-8")
    if features is not None:
        (directory / FEATURES).write_bytes(freeze(features))
    manifest = Manifest(
        name=name,
        source=Source(source.framework, source.description, dict(source.versions), conversion.variant),
        signature=conversion.signature,
        row_block=trial.row_block,
        parameters=count_parameters(conversion.graph),
        parity=trial.parity,
        files=tuple(describe_file(path) for path in sorted(directory.iterdir())),
    )
    (directory / MANIFEST).write_bytes(manifest.to_bytes())
    for path in directory.iterdir():
        path.chmod(0o644)
    return manifest


def _default_name(out: Path) -> str:
    return out.absolute().name.removesuffix(archive.SUFFIX)
