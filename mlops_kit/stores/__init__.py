"""Where feature values and window state live: keys and bytes, in SQLite, Redis or PostgreSQL."""
