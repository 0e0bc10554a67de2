"""The same faces at another quality, by real codecs."""

from unmask.data.degrade.qualities import ALIASES, QUALITIES, Quality, degrade_image, get_quality, strength
from unmask.data.degrade.table import UNCHANGED, Degraded, camera_seed, degrade_table

__all__ = [
    "ALIASES",
    "QUALITIES",
    "UNCHANGED",
    "Degraded",
    "Quality",
    "camera_seed",
    "degrade_image",
    "degrade_table",
    "get_quality",
    "strength",
]
