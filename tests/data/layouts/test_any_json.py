"""Whatever a JSON file holds, a reader names what is wrong with it and never falls over it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.layouts.trees import build
from unmask.data.layouts import read_layout
from unmask.data.layouts.check import describe
from unmask.errors import UnmaskError

#: Words that mean something to a reader, and some that mean nothing.
_WORDS = st.sampled_from(
    (
        *("aaaaaaaaaa.mp4", "label", "split", "original", "set", "frames", "masks", "FAKE", "REAL", "fake", "real"),
        *("train", "test", "val", "c23", "FF-DF", "FF-real", "519", "519_515", "", "/", "..", "a/../b.mp4", "\0", "ü"),
        "original_videos/643049/643049_A_001.mp4",
        "FaceForensics++/original_sequences/youtube/c23/frames/000/000.png",
    )
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=24,
)
_FILES = {
    "ffpp": "splits/train.json",
    "dfdc": "dfdc_train_part_0/metadata.json",
    "dfdc-preview": "dataset.json",
    "deepfakebench": "preprocessing/dataset_json/FF-DF.json",
}


@pytest.mark.parametrize("layout", _FILES)
@settings(max_examples=60, deadline=None)
@given(value=_JSON)
def test_any_json(layout: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        src = build(layout, Path(folder) / "data")
        path = src / _FILES[layout]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value))
        try:
            found = describe(read_layout(layout, src))
        except UnmaskError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.clips + len(found.problems) > 0
            assert all("\n" not in str(problem) for problem in found.problems)
            json.dumps(found.to_json())
