"""Features while the caller waits: state and tables in a store, filled from history and from events, read by
key.
"""
