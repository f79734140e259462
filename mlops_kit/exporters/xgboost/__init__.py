"""Export XGBoost models."""
