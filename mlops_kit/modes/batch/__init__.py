"""Batch prediction: score everything that is stored, and store the answers."""
