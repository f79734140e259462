"""The practical limit in Python: an ASGI application that reads, runs and answers, and checks nothing.

Uvicorn's factory `make_app` reads the bundle from BENCH_BUNDLE.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson

HEADERS = [(b"content-type", b"application/json")]


def make_app() -> Any:
    """An application over one ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(os.environ["BENCH_BUNDLE"] + "/model.onnx", options)
    taken, given = session.get_inputs()[0], session.get_outputs()[0]
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[taken.type]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        rows = orjson.loads(body)["dataframe_split"]["data"]
        answers = session.run([given.name], {taken.name: np.array(rows, dtype)})[0]
        answer = orjson.dumps({"predictions": answers.tolist()})
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": answer})

    return app
