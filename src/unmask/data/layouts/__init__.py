"""Readers of the field's data sets, each in its official folder structure; parts of a data set are welcome."""

from __future__ import annotations

from unmask.data.layouts.index import Clip, Index, Problem

__all__ = ["Clip", "Index", "Problem"]
