"""The HTTP server's door."""
