"""How rows arrive and how predictions leave. Nothing else differs between the modes."""
