"""Certificates of a server."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the certificate with its chain, and its key."""

    certificate: Path
    key: Path

    def context(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        """TLS 1.2 or later, for a protocol by the name that ALPN has for it.

        Raises UsageError for files that are missing, damaged or do not fit.
        """
        for path in (self.certificate, self.key):
            _read(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        try:
            # Without a password callback, OpenSSL would ask at the terminal for that of an encrypted key.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(*self._explain(error)) from error
        return context

    def _explain(self, error: Exception) -> tuple[str, str, str]:
        reason = getattr(error, "reason", "") or ""
        if "MISMATCH" in reason:
            return f"{self.key} is not the key of {self.certificate}", "", "give the two that were made together"
        if b"ENCRYPTED" in _read(self.key):
            fix = "decrypt it with: openssl pkey -in KEY -out PLAIN, in a file that only the server may read"
            return f"{self.key}: the key is encrypted", "a server has nobody to ask for its password", fix
        what = f"{self.certificate} and {self.key} are no certificate and its key"
        return what, reason.lower().replace("_", " "), "both are PEM files, which begin with -----BEGIN"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read", error.strerror or str(error), "check the path") from error
