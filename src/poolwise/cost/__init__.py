"""What a plan would cost: pure functions, no clock, no I/O. ``README.md`` has the symbols."""

from poolwise.cost.forecast import Ceilings, Forecast
from poolwise.cost.model import ceilings, forecast

__all__ = ["Ceilings", "Forecast", "ceilings", "forecast"]
