"""The statistics extension of the Open Inference Protocol.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from dataclasses import asdict
from typing import Any

from mlops_kit.modes.online.metrics.counts import Duration, ModelCounts


def render_statistics(name: str, version: str, counts: ModelCounts) -> dict[str, Any]:
    """One entry of `model_stats`. There is no cache; writing the answer is not measured, nor what is done for a
    request before it shares a run with others.
    """
    return {
        "name": name,
        "version": version,
        "last_inference": counts.last_request_ms,
        "inference_count": counts.rows,
        "execution_count": counts.runs,
        "inference_stats": {
            "success": asdict(counts.success),
            "fail": asdict(counts.failure),
            "queue": asdict(counts.queue),
            "compute_input": asdict(counts.assemble),
            "compute_infer": asdict(counts.model),
            "compute_output": asdict(Duration()),
            "cache_hit": asdict(Duration()),
            "cache_miss": asdict(Duration()),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": asdict(Duration()),
                "compute_infer": asdict(runs),
                "compute_output": asdict(Duration()),
            }
            for rows, runs in sorted(counts.batches.items())
        ],
    }
