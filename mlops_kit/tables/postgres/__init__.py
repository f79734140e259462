"""Predictions in PostgreSQL, in a view that changes from one generation to the next in one step.

    eta                     the view that applications read
    eta__<generation>       a table for each generation that is kept, with a unique index on its key
    mlkit_generations       which of them is current, which came before, and what they are

A generation is loaded by binary COPY in one transaction, so that whatever ends it early leaves nothing behind. Old
ones are dropped afterwards, in transactions that give way to readers.

The address is postgresql://[user[:password]@]host[:port]/DATABASE?table=[SCHEMA.]eta. Whatever else is behind the
question mark goes to libpq, which also looks for a missing password where it always does (PGPASSWORD, ~/.pgpass).
To read `eta`, a role needs SELECT on it; for `mlkit lookup` it needs SELECT on mlkit_generations, too.
"""
