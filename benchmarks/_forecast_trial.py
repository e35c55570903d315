"""One workload under `poolwise.map`, in a process of its own: what was forecast, what came of it.

A line of JSON: the whole makespan as it was forecast when a plan was first chosen, the plan, and
the makespan in the end. Before the clock starts everything is as for `bench_regret.py`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from _workloads import load

from poolwise import map, shutdown


def main() -> None:
    """Measure what the command line says: a workload and a scale."""
    name, scale = json.loads(sys.argv[1])
    os.environ.pop("POOLWISE_PLAN", None)
    workload = load(name)
    with workload.surroundings():
        run = map(workload.function, workload.inputs(scale))
        first: dict[str, Any] = {"forecast": None, "plan": None}
        # Parts, not results: between two of them is when plans are chosen.
        for part in run._drive:
            for _ in part:
                pass
            if first["forecast"] is None:
                record = run.record()
                if record.forecasts:
                    first = {"forecast": record.forecast, "plan": str(record.forecasts[0].plan)}
        record = run.record()
        first |= {"seconds": record.elapsed, "total": record.total, "last": str(record.plan)}
        shutdown()
    print(json.dumps(first))


if __name__ == "__main__":
    main()
