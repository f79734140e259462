"""What a server is asked to be."""

from dataclasses import dataclass, field

from mlops_kit.modes.online.features.options import StoreOptions
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.log_format import LogFormat
from mlops_kit.modes.online.tls import Tls


@dataclass(frozen=True, slots=True)
class ServeJob:
    """`version` is mlkit's own."""

    version: str
    grpc_address: tuple[str, int] = ("127.0.0.1", 8081)
    workers: int = 1
    is_watching: bool = False
    model_root: str | None = None
    log_format: LogFormat = LogFormat.text
    limits: Limits = field(default_factory=Limits)
    keys: Keys = field(default_factory=Keys)
    tls: Tls | None = None
    log_folder: str | None = None
    features: StoreOptions | None = None
