"""What people and tools read of a server: its page, its documentation, its description in OpenAPI."""
