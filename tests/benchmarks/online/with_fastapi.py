"""What many teams write: FastAPI, with pydantic for the request and the answer.

Uvicorn's factory `make_app` reads the bundle from BENCH_BUNDLE.
"""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel


class Frame(BaseModel):
    """MLflow's split form."""

    columns: list[str]
    data: list[list[float]]


class Request(BaseModel):
    """The body."""

    dataframe_split: Frame


class Answer(BaseModel):
    """The answer."""

    predictions: list[float]


def make_app() -> FastAPI:
    """An application over one ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["BENCH_BUNDLE"] + "/model.onnx", options)
    taken = session.get_inputs()[0]
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[taken.type]
    app = FastAPI()

    @app.post("/invocations")
    async def predict(request: Request) -> Answer:
        rows = np.array(request.dataframe_split.data, dtype)
        return Answer(predictions=session.run(None, {taken.name: rows})[0].tolist())

    return app
