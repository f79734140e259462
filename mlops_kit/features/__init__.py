"""Features: defined once, the same bits offline, online and in the stream."""
