"""Forgeries that anybody can make again, from reals alone."""

from unmask.forge.classical import face_swap, reenact, self_blend
from unmask.forge.geometry import AlignedFace
from unmask.forge.table import FORGERIES, Forger

__all__ = ["FORGERIES", "AlignedFace", "Forger", "face_swap", "reenact", "self_blend"]
