"""The routes of the pages, and of what they read."""

from functools import partial

import orjson

from mlops_kit.modes.online.http.messages import JSON, Handler, Receive, Response, Scope
from mlops_kit.modes.online.models import Models, Slot
from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi.description import describe_api
from mlops_kit.modes.online.pages.static_files import cached, read_static_files, unless_known
from mlops_kit.modes.online.served_model import ServedModel

FOLDER = "/pages/"
PAGES = {"/": "page.html", "/docs": "docs.html"}


class Pages:
    """Used on one event loop. With `needs_key`, the description says that requests have one."""

    def __init__(self, models: Models, version: str, *, needs_key: bool = False) -> None:
        self._models = models
        self._version = version
        self._needs_key = needs_key
        self._files = read_static_files()

    @property
    def public_routes(self) -> dict[str, Handler]:
        """What has no data of any model in it: the pages themselves, by path."""
        files = {FOLDER + name: response for name, response in self._files.items()}
        pages = {path: self._files[name] for path, name in PAGES.items()}
        return {path: partial(_send_file, response) for path, response in (pages | files).items()}

    @property
    def routes(self) -> dict[str, Handler]:
        """What the pages read, by path: columns and golden rows, which need a key where there are keys."""
        return {"/openapi.json": self._describe_api, "/models": self._list_models}

    async def _describe_api(self, scope: Scope, _receive: Receive) -> Response:
        views = [_view(slot, slot.model) for slot in self._models if slot.model]
        document = describe_api(views, self._version, needs_key=self._needs_key)
        return unless_known(scope, cached(orjson.dumps(document), JSON))

    async def _list_models(self, scope: Scope, _receive: Receive) -> Response:
        listed = [
            _view(slot, slot.model).to_json()
            if slot.model
            else {"name": slot.name, "is_ready": False, "refusal": slot.refusal}
            for slot in self._models
        ]
        return unless_known(scope, cached(orjson.dumps({"models": listed}), JSON))


async def _send_file(response: Response, scope: Scope, _receive: Receive) -> Response:
    return unless_known(scope, response)


def _view(slot: Slot, model: ServedModel) -> ModelView:
    return ModelView(
        slot.name,
        model.version,
        model.digest,
        model.loaded_at,
        slot.refusal,
        model.signature,
        model.golden,
        model.optional,
        model.lookup.features if model.lookup else None,
    )
