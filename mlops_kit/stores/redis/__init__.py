"""Values in Redis or Valkey: a hash for each space, so that one command drops it, and a scan reads no others.

    mlkit:values:1:<space>      field: a key; value: its version (eight bytes, the highest first) and data

The 1 is the layout. The address is redis://[user@]host:port/DATABASE, or rediss:// for TLS, with the options

- `connect_timeout_s` and `timeout_s`: how long the server may take to answer at first, and then;
- `ca`: a file of certificates that vouch for the server's, instead of those that the machine trusts;
- `eviction=accepted`: write although the server removes arbitrary keys when its memory is full.
"""
