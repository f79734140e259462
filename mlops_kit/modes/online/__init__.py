"""The online mode: requests are answered while callers wait."""
