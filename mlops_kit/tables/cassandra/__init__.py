"""Predictions in Apache Cassandra, for applications that look them up by key.

    eta                 the rows of all generations; the generation and the key are the partition key
    mlkit_generations   what generations the tables of the keyspace have, and which is current
    mlkit_keys          the keys of each generation's rows, by which they are deleted

So an application needs no more than a plain client:

    SELECT current FROM mlkit_generations WHERE table_name = 'eta' LIMIT 1
    SELECT * FROM eta WHERE generation = … AND key = '17'

The address is cassandra://[user@]host[:port][,host…]/KEYSPACE?table=eta. The keyspace must be there, because its
replication is for its owner to choose; the tables are made by the first publication. Acknowledged writes are as
durable as that replication, and the nodes' `commitlog_sync`, make them.
"""

from cassandra import DependencyException

from mlops_kit.errors import UsageError

try:
    from mlops_kit.tables.cassandra.table import CassandraTable, open_table
except DependencyException as error:
    # The driver takes libev's event loop, which its wheels bring for every Python and platform. Compiled without
    # it, it takes asyncore, which is gone from Python 3.12 on; then it cannot be imported.
    raise UsageError(
        "cassandra://: the installed cassandra-driver cannot connect",
        "it was compiled without libev",
        "pip install --force-reinstall --only-binary cassandra-driver cassandra-driver",
    ) from error

__all__ = ["CassandraTable", "open_table"]
