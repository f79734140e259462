"""A bundle in memory, which has given its golden answers. Nothing of its folder is read any more."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_kit.bundle.locate import load_bundle
from mlops_kit.errors import BundleError
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.modes.online.golden_row import GoldenRow, read_golden_row
from mlops_kit.parity import check_goldens
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Signature

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.lookup import Lookup


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`golden` is a row to begin with. `lookup` brings the features, where the server has a store."""

    predictor: Predictor
    digest: str
    golden: GoldenRow
    features: FeatureSet | None = None
    lookup: "Lookup | None" = None

    @property
    def signature(self) -> Signature:
        """What requests have; columns that are `optional` are looked up where they do not."""
        return self.lookup.columns.signature if self.lookup else self.predictor.signature

    @property
    def optional(self) -> frozenset[str]:
        """The columns that a request may leave out."""
        return self.lookup.columns.optional if self.lookup else frozenset()


def load_model(path: str) -> LoadedModel:
    """Load a bundle and ask it its golden rows. Raises BundleError or UsageError."""
    bundle = load_bundle(path)
    predictor = Predictor.of_bundle(bundle)
    if not check_goldens(predictor).is_within(bundle.manifest.parity.tolerance):
        raise BundleError("goldens.parquet", "the model does not give its golden answers on this machine")
    return LoadedModel(predictor, bundle.digest, read_golden_row(bundle), bundle.features)
