"""From a data set's clips to a face table: decode, find faces, follow them, choose whom, crop, write.

>>> from unmask.data.layouts import read_layout
>>> from unmask.data.prepare import PrepareRecipe, prepare
>>> report = prepare(read_layout("ffpp", "FF++"), "faces", PrepareRecipe(frames=32), workers=8)
"""

from __future__ import annotations

from unmask.data.prepare.recipe import PrepareRecipe
from unmask.data.prepare.report import Report
from unmask.data.prepare.run import prepare

__all__ = ["PrepareRecipe", "Report", "prepare"]
