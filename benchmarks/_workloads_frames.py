"""Work of pandas: partly C without the GIL, mostly not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from _workload import Workload, times


def summary(seed: int) -> float:
    """Group a frame of 30,000 rows, join, and sort."""
    draw = np.random.default_rng(seed)
    sales = pd.DataFrame(
        {
            "shop": draw.integers(0, 200, 30_000),
            "month": draw.integers(1, 13, 30_000),
            "price": draw.random(30_000),
        }
    )
    by_shop = sales.groupby(["shop", "month"])["price"].agg(["mean", "sum"]).reset_index()
    shops = pd.DataFrame({"shop": range(200), "area": draw.random(200)})
    joined = by_shop.merge(shops, on="shop").sort_values("sum")
    return float((joined["sum"] / joined["area"]).median())


WORKLOADS = {"group frames": Workload(summary, lambda scale: range(times(scale, 100)), True)}
