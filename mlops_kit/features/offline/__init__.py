"""Features as of each row's time, from histories that may be far larger than memory."""
