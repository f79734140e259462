"""Feast over the same file, in an environment of its own: one JSON document with what it took.

python with_feast.py ROWS.parquet FOLDER sqlite|redis PORT READS
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = 50


def main(rows: str, folder: Path, kind: str, port: str, reads: int) -> None:
    """Fill the store, read keys from it, and print the seconds."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    online = {
        "sqlite": f"type: sqlite\n  path: {folder}/online.db",
        "redis": f"type: redis\n  connection_string: 127.0.0.1:{port}",
    }
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nregistry: {folder}/registry.db\nprovider: local\noffline_store:\n  type: file\n"
        f"online_store:\n  {online[kind]}\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(repo_path=str(folder))
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="numbers",
        entities=[entity],
        ttl=timedelta(days=36500),
        schema=[Field(name=f"f{number}", dtype=Float64) for number in range(COLUMNS)],
        source=FileSource(path=rows, timestamp_field="at"),
    )
    store.apply([entity, view])
    started = time.perf_counter()
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    filled_s = time.perf_counter() - started
    names = [f"numbers:f{number}" for number in range(COLUMNS)]
    taken = []
    for number in range(reads):
        started = time.perf_counter()
        found = store.get_online_features(features=names, entity_rows=[{"id": number * 7919 % 10_000}]).to_dict()
        taken.append(time.perf_counter() - started)
        if found["f0"][0] is None:
            raise RuntimeError("Feast has no value")
    print(json.dumps({"filled_s": filled_s, "reads_s": taken[reads // 10 :]}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
