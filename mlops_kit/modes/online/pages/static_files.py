"""The files of the pages, which load nothing from elsewhere. What all pages have in common is written once."""

import hashlib
from importlib.resources import files
from string import Template

from mlops_kit.modes.online.http.messages import Response, Scope, header

TITLES = {"page": "mlkit serve", "docs": "Documentation · mlkit serve"}
CONTENT_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
SAFETY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def read_static_files() -> dict[str, Response]:
    """File name → its answer, ready to be sent."""
    folder = files(__package__) / "static"
    return {file.name: _response(file.name, file.read_bytes()) for file in folder.iterdir() if file.is_file()}


def cached(body: bytes, content_type: bytes) -> Response:
    """An answer that a browser may keep, and asks about each time."""
    tag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    return Response(200, body, content_type, (*SAFETY, (b"cache-control", b"no-cache"), (b"etag", tag)))


def unless_known(scope: Scope, response: Response) -> Response:
    """304 where the client has it already."""
    if (b"etag", header(scope, b"if-none-match")) in response.headers:
        return Response(304, b"", response.content_type, response.headers)
    return response


def _response(file_name: str, body: bytes) -> Response:
    name, _, ending = file_name.rpartition(".")
    if ending == "html":
        body = _lay_out(name, body.decode()).encode()
    return cached(body, CONTENT_TYPES[ending])


def _lay_out(name: str, content: str) -> str:
    layout = Template((files(__package__) / "layout.html").read_text())
    current = {f"in_{other}": ' aria-current="page"' if other == name else "" for other in TITLES}
    return layout.substitute(current, name=name, title=TITLES[name], content=content)
