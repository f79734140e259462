"""Remove the rows of generations that nobody needs, which may be stopped at any moment and begun again.

Rows go first and the generation's entry last, so that the next sweep finds what is left of an interrupted one.
"""

import re

import msgspec
import redis

from mlops_kit.tables.redis.catalog import Entries, Entry, Names

KEYS_PER_STEP = 1000

UNLESS_NEEDED = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
"""
"""Begins both scripts: in the meantime somebody may publish the very generation, and must not lose a row."""

EXPIRE_ROWS = f"{UNLESS_NEEDED} for i = 3, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[3]) end return 1"
FORGET = f"{UNLESS_NEEDED} redis.call('HDEL', KEYS[1], ARGV[1]) return 1"


def sweep(client: redis.Redis, names: Names, entries: Entries, grace_s: int) -> None:
    """Let the rows of retired generations expire after `grace_s`, and remove what dead publishers have left."""
    for name, entry in entries.items():
        if entry.state == "retired":
            _sweep_generation(client, names, name, entry, grace_s)
        elif entry.state == "loading" and not client.exists(names.lease(name)):
            _sweep_generation(client, names, name, entry, 0)


def _sweep_generation(client: redis.Redis, names: Names, name: str, entry: Entry, grace_s: int) -> None:
    guard = [names.generations, names.lease(name)]
    arguments = [name, msgspec.json.encode(entry), grace_s]
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", names.rows(name)) + "*"
    cursor = None
    while cursor != 0:
        cursor, keys = client.scan(cursor or 0, pattern, KEYS_PER_STEP)
        if keys and not client.eval(EXPIRE_ROWS, len(guard) + len(keys), *guard, *keys, *arguments):
            return
    client.eval(FORGET, len(guard), *guard, *arguments)
