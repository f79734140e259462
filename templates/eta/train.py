"""Train the model that predicts how many minutes late a flight arrives.

`mlkit features join ...` writes training.parquet first: the flights, with the features as of when each one left.
`python train.py` shows how good it is on weeks that it has not seen.
`mlkit export train.py:model ...` turns the fitted `model` into a bundle.
"""

from datetime import datetime
from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

DATA = Path(__file__).parent / "training.parquet"
TARGET = "arr_delay"
CATEGORIES = ["carrier", "origin", "dest"]
# Not `month`: with one year of data, the month to predict is always one that was never seen.
OWN = ["distance", "dep_delay", "weekday", "hour", "minute"]
# Out of features.py. The server looks them up; the rest is what a request brings.
DELAYS = [
    f"{key}_{feature}_{span}"
    for key in ("origin", "carrier")
    for span in ("1h", "1d")
    for feature in ("delay", "late", "departures")
]
PLACES = ["temp", "wind_speed", "precip", "visib", "dest_lat", "dest_lon"]
NUMBERS = OWN + DELAYS + PLACES
HOLD_OUT_FROM = datetime(2013, 11, 1)


def train(flights: pd.DataFrame) -> Pipeline:
    """Fit preprocessing and model as one pipeline, so that both travel in the bundle."""
    columns = ColumnTransformer(
        [
            # A carrier or airport that was never seen becomes -1 instead of an error.
            ("categories", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), CATEGORIES),
            # Missing numbers stay missing: the trees learn which way to send them.
            ("numbers", "passthrough", NUMBERS),
        ]
    )
    trees = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=100,
        learning_rate=0.1,
        min_samples_leaf=60,
        early_stopping=False,
        random_state=0,
    )
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    return pipeline.fit(flights[CATEGORIES + NUMBERS], flights[TARGET])


def evaluate(flights: pd.DataFrame) -> None:
    """Train on the earlier flights, predict the last weeks, and print both errors in minutes."""
    seen = flights[flights["time"] < HOLD_OUT_FROM]
    unseen = flights[flights["time"] >= HOLD_OUT_FROM]
    guesses = {
        "this model": train(seen).predict(unseen[CATEGORIES + NUMBERS]),
        "arrives as late as it left": unseen["dep_delay"],
    }
    print(f"mean absolute error on {len(unseen)} flights since {HOLD_OUT_FROM:%Y-%m-%d}")
    for name, minutes in guesses.items():
        print(f"  {name:28}{mean_absolute_error(unseen[TARGET], minutes):6.2f} min")


flights = pd.read_parquet(DATA)
if __name__ == "__main__":
    evaluate(flights)
else:
    # `mlkit export train.py:model` imports this file and takes the fitted model from here.
    model = train(flights)
