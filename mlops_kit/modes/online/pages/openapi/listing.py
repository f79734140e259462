"""What the page reads: the models, and a row to begin with."""

from mlops_kit.modes.online.pages.openapi.operations import FLAG, STRING, Json, Protocol, json_answer, record, ref

SIZES = {"type": "array", "items": {"type": ["integer", "null"], "minimum": 0}}
PART = {"name": STRING, "dtype": STRING, "shape": SIZES, "is_nullable": FLAG}
PARTS = {"type": "array", "items": record(PART)}
OPTIONAL_PARTS = {"type": "array", "items": record({**PART, "source": STRING})}
LISTING = record(
    {
        "name": STRING,
        "is_ready": FLAG,
        "refusal": STRING,
        "version": STRING,
        "digest": STRING,
        "loaded_at": {"type": "string", "format": "date-time"},
        "inputs": PARTS,
        "optional_inputs": OPTIONAL_PARTS,
        "keys": {"type": "array", "items": STRING},
        "outputs": PARTS,
        "example": {"type": "object"},
    },
    optional=["version", "digest", "loaded_at", "inputs", "optional_inputs", "keys", "outputs", "example"],
)
EXPLAINED = (
    "What the page shows: each model's columns, a row to begin with, and why the last bundle was refused that "
    "should have replaced it. Models that are being loaded have a name only."
)


def listing_paths(protocol: Protocol, tag: str) -> dict[str, Json]:
    """The list of models."""
    models = record({"models": {"type": "array", "items": ref("ListedModel")}})
    answer = json_answer("In the order of the command line.", models)
    return {"/models": {"get": protocol.operation("models", tag, ("The models", EXPLAINED), {200: answer})}}
