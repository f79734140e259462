"""The Spark engine: units are scored by Spark's executors, which see the same file system as the driver."""
