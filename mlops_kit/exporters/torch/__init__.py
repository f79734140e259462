"""Export PyTorch networks."""
