"""One-off predictions: a few rows as text in, their predictions as text out."""
