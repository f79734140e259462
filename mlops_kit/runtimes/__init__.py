"""Run tensors through a model."""
