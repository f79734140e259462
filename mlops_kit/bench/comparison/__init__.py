"""Two results side by side: what is better, what is worse, and what nobody can tell."""
