"""Features in the server: looked up for every batch of requests, and kept fresh by events that clients send."""
