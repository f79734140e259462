"""What the databases that speak SQL have in common."""
