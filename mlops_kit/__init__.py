"""mlkit: one trained model, exported once, run in every prediction mode.

>>> import mlops_kit
>>> sorted(mlops_kit.__all__)
['export', 'load', 'lookup']
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_kit.exporters.export import export
    from mlops_kit.loading import load
    from mlops_kit.tables.resolve import lookup

__all__ = ["export", "load", "lookup"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `mlkit --help` must not pay for ONNX Runtime."""
    from importlib import import_module

    homes = {
        "export": "mlops_kit.exporters.export",
        "load": "mlops_kit.loading",
        "lookup": "mlops_kit.tables.resolve",
    }
    if name not in homes:
        raise AttributeError(f"module 'mlops_kit' has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
