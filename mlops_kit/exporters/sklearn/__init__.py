"""Export scikit-learn estimators and pipelines."""
