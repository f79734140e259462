"""What a runtime must do for the Predictor."""

from collections.abc import Mapping
from typing import Protocol

from mlops_kit.schema import Array


class Runtime(Protocol):
    """One loaded model. Threads share it; it must not be forked."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Input tensors by name in, every output by name out. Raises InputError where the model refuses them."""
