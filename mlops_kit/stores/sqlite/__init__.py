"""Values in an SQLite file, which holds nothing else.

    spaces      id, name            name is NULL once the space is dropped and until its values are removed
    kept        space, key, version, data

The file has a write-ahead log, so that readers and the one writer do not wait for each other, and what is
committed is synced to the disk. The address is sqlite:///FILE for one in this folder, sqlite:////FOLDER/FILE for
one anywhere; `timeout_s` is how long a write may wait for other processes that write.
"""
