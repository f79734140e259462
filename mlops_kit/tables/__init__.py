"""Tables of predictions: published a whole generation at a time, looked up by key."""
