"""What a runtime must do for the Predictor."""

from collections.abc import Mapping
from typing import Protocol

from mlops_kit.schema import Array, Signature


class Runtime(Protocol):
    """One loaded model. Threads share it; it must not be forked."""

    def check_signature(self, signature: Signature) -> None:
        """Raise BundleError if the model does not take and give the tensors that the signature names."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Input tensors by name in, every output by name out. Raises InputError where the model refuses them."""
