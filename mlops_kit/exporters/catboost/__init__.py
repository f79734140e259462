"""Export CatBoost models."""
