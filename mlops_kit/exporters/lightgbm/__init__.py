"""Export LightGBM models."""
