"""pandas on small frames that are there already, and whose results are frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from _workload import Workload, times

_STATIONS = pd.DataFrame(
    {"station": [f"st{n:02}" for n in range(40)], "height": np.linspace(0.0, 2_000.0, 40)}
)


def days(scale: float) -> list[pd.DataFrame]:
    """What stations measured on some days, every minute."""
    draw = np.random.default_rng(501)
    names = _STATIONS["station"].to_numpy()
    return [
        pd.DataFrame(
            {
                "station": draw.choice(names, 1_440),
                "at": pd.date_range("2024-01-01", periods=1_440, freq="min")
                + pd.Timedelta(days=day),
                "value": draw.normal(15.0, 5.0, 1_440),
            }
        )
        for day in range(times(scale, 120))
    ]


def hourly(day: pd.DataFrame) -> pd.DataFrame:
    """Join with the stations, correct for height, and take means by the hour."""
    joined = day.merge(_STATIONS, on="station", how="left")
    joined["value"] = joined["value"] + 0.0065 * joined["height"]
    by_hour = joined.set_index("at")["value"].resample("h").agg(["mean", "max"])
    usual = joined.groupby(joined["at"].dt.hour)["station"].agg(lambda names: names.mode().iloc[0])
    by_hour["station"] = usual.to_numpy()
    return by_hour.reset_index()


WORKLOADS = {"merge frames": Workload(hourly, days, True)}
