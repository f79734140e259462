"""What the server is asked."""

LAYOUT = "mlkit values, layout 1"

SETTINGS = """
SET statement_timeout = {timeout_ms};
SET default_transaction_isolation = 'read committed';
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SET jit = off; SET plan_cache_mode = force_generic_plan
"""
"""Every statement is to find its rows by the index, one by one, in the order of the keys: fast however little the
server knows of the table, and two of them that lock the same rows never wait for each other.
"""
DESCRIBE = "SELECT to_regclass('mlkit_values')::oid, obj_description(to_regclass('mlkit_values'), 'pg_class')"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('mlkit_values', 0))"
MAKE = f"""
CREATE TABLE mlkit_values (
    space TEXT COLLATE "C", key BYTEA, version BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (space, key)
);
ALTER TABLE mlkit_values ALTER data SET STORAGE EXTERNAL;
COMMENT ON TABLE mlkit_values IS '{LAYOUT}'
"""
READ = "SELECT version, data FROM mlkit_values WHERE space = $1 AND key = $2"
READ_MANY = """
SELECT wanted.place, version, data
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (space, key, place)
JOIN mlkit_values AS kept ON kept.space = wanted.space AND kept.key = wanted.key
"""
PUT = """
INSERT INTO mlkit_values AS kept (space, key, version, data)
SELECT $1, given.key, 1, given.data FROM unnest($2::bytea[], $3::bytea[]) AS given (key, data)
ON CONFLICT (space, key) DO UPDATE SET version = kept.version + 1, data = excluded.data
RETURNING key
"""
CREATE = """
INSERT INTO mlkit_values (space, key, version, data)
SELECT $1, given.key, 1, given.data FROM unnest($2::bytea[], $3::bytea[]) AS given (key, data)
ON CONFLICT (space, key) DO NOTHING
RETURNING key
"""
REPLACE = """
UPDATE mlkit_values AS kept SET version = kept.version + 1, data = given.data
FROM unnest($2::bytea[], $3::bytea[], $4::bigint[]) AS given (key, data, replaces)
WHERE kept.space = $1 AND kept.key = given.key AND kept.version = given.replaces
RETURNING kept.key
"""
SCAN = "SELECT key, version, data FROM mlkit_values WHERE space = $1 AND key >= $2 ORDER BY key LIMIT $3"
SPACES = """
WITH RECURSIVE found (space) AS (
    (SELECT space FROM mlkit_values ORDER BY space LIMIT 1)
    UNION ALL
    SELECT (SELECT space FROM mlkit_values WHERE space > found.space ORDER BY space LIMIT 1)
    FROM found WHERE found.space IS NOT NULL
)
SELECT space FROM found WHERE starts_with(space, $1) ORDER BY space
"""
"""From each space to the next one, through the index."""
DROP = """
WITH first AS MATERIALIZED (
    SELECT key FROM mlkit_values WHERE space = $1 AND key >= $2 ORDER BY key LIMIT $3 FOR UPDATE
)
DELETE FROM mlkit_values AS kept USING first WHERE kept.space = $1 AND kept.key = first.key
RETURNING kept.key, octet_length(kept.data)
"""
