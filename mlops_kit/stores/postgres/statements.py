"""What the server is asked."""

LAYOUT = "mlkit values, layout 1"

SETTINGS = """
SET statement_timeout = {timeout_ms};
SET default_transaction_isolation = 'read committed';
SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan
"""
"""Every row is found by the index, however little the server knows of the table: a plan is made once, maybe while
the table is empty. For the same reason, no statement joins the table, which might be in any order, or by the space
alone.
"""
DESCRIBE = "SELECT to_regclass('mlkit_values')::oid, obj_description(to_regclass('mlkit_values'), 'pg_class')"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('mlkit_values', 0))"
MAKE = f"""
CREATE TABLE IF NOT EXISTS mlkit_values (
    space TEXT COLLATE "C", key BYTEA, version BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (space, key)
);
ALTER TABLE mlkit_values ALTER data SET STORAGE EXTERNAL;
COMMENT ON TABLE mlkit_values IS '{LAYOUT}'
"""
"""Only this is sure to see what another writer has just made; it changes nothing then."""
READ = "SELECT version, data FROM mlkit_values WHERE space = $1 AND key = $2"
READ_MANY = """
SELECT wanted.place, found.version, found.data
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (space, key, place)
CROSS JOIN LATERAL (
    SELECT version, data FROM mlkit_values WHERE space = wanted.space AND key = wanted.key LIMIT 1
) AS found
"""
PUT = """
INSERT INTO mlkit_values AS kept (space, key, version, data)
SELECT $1, given.key, 1, given.data FROM unnest($2::bytea[], $3::bytea[]) AS given (key, data)
ON CONFLICT (space, key) DO UPDATE SET version = kept.version + 1, data = excluded.data
RETURNING key
"""
REPLACE = """
INSERT INTO mlkit_values AS kept (space, key, version, data)
SELECT $1, given.key, given.replaces + 1, given.data
FROM unnest($2::bytea[], $3::bytea[], $4::bigint[]) AS given (key, data, replaces)
WHERE given.replaces = coalesce((SELECT version FROM mlkit_values WHERE space = $1 AND key = given.key), 0)
ON CONFLICT (space, key) DO UPDATE SET version = excluded.version, data = excluded.data
WHERE kept.version + 1 = excluded.version
RETURNING key
"""
"""Both lock the rows in the order of the arrays."""
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
SIZES = """
SELECT key, octet_length(data) FROM mlkit_values WHERE space = $1 AND key >= $2 ORDER BY key LIMIT $3
"""
DROP = "DELETE FROM mlkit_values WHERE space = $1 AND key BETWEEN $2 AND $3 RETURNING 1"
