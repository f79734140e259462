"""Values in PostgreSQL, in one table, which the first write makes.

    mlkit_values        space, key, version, data

A comment on it names its layout. The address is postgresql://[user[:password]@]host[:port]/DATABASE, with the
options

- `schema`: the table's, instead of the one that the server chooses for this user;
- `connect_timeout_s` and `timeout_s`: how long the server may take to answer at first, and then.

Whatever else is behind the question mark goes to libpq, which also looks for a missing password where it always
does (PGPASSWORD, ~/.pgpass). To read, a role needs SELECT on the table; to write, INSERT and UPDATE, too; to drop,
DELETE.
"""
