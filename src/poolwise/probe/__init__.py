"""A cheap look at a task before choosing: its traits, and what its first calls say."""

from poolwise.probe.effects import EffectWatch
from poolwise.probe.payload import Payload, measure_payload
from poolwise.probe.picture import Picture, TooLarge, picture
from poolwise.probe.pilot import Pilot
from poolwise.probe.profile import Sample, TaskProfile
from poolwise.probe.traits import carrying_refusal, pickling_refusal, read_traits

__all__ = [
    "EffectWatch",
    "Payload",
    "Picture",
    "Pilot",
    "Sample",
    "TaskProfile",
    "TooLarge",
    "carrying_refusal",
    "measure_payload",
    "pickling_refusal",
    "picture",
    "read_traits",
]
