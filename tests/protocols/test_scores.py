"""What a run leaves of its tests: comes back as it was, and an unusable file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmask.errors import UnmaskError
from unmask.protocols import measure, read_protocol, run_protocol
from unmask.protocols.scores import Scored, read_scores, write_scores


def test_scores_and_sources_come_back(tmp_path: Path) -> None:
    scored = {
        "here/real/source": Scored(np.array([0.5, -1.25, 3.0]), np.array(["b", "a", "b"])),
        "here/A/source": Scored(np.array([2.0]), np.array(["Grüße/1"])),
    }
    write_scores(tmp_path / "scores.npz", scored)
    back = read_scores(tmp_path / "scores.npz")
    assert list(back) == list(scored)
    for name, each in scored.items():
        np.testing.assert_array_equal(back[name].log_odds, each.log_odds)
        np.testing.assert_array_equal(back[name].component, each.component)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    with pytest.raises(UnmaskError, match=r"scores\.npz: cannot be read"):
        read_scores(path)
    write_scores(path, {"here/real/source": Scored(np.arange(9.0), np.array(list("abcdefghi")))})
    whole = path.read_bytes()
    spoilt = whole[:60] + bytes(byte ^ 255 for byte in whole[60:90]) + whole[90:]
    for content in (b"", b"PK no zip", whole[:-40], spoilt):
        path.write_bytes(content)
        with pytest.raises(UnmaskError, match=r"scores\.npz: cannot be read"):
            read_scores(path)
    np.savez(path, **{"here/real/source": np.zeros(3, np.float32)})
    with pytest.raises(UnmaskError, match=r"does not say which sources its rows are of: an earlier release"):
        read_scores(path)


def test_runs_need_not_have_seen_the_same_rows(small: Path) -> None:
    """As where the tables were made anew, and a face more was found: what is drawn is the source."""
    small.write_text(small.read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    out = small.parent / "out"
    protocol = run_protocol(small, small.parent / "data", out)
    before = measure(protocol, out, 20)
    path = out / "A/plain/seed0/scores.npz"
    held = read_scores(path)
    cut = {name: Scored(each.log_odds[1:], each.component[1:]) for name, each in held.items()}
    write_scores(path, cut)
    after = measure(read_protocol(small), out, 20)
    assert [each.cells for each in after[1:]] == [each.cells for each in before[1:]]
    real, fake = (cut[name].log_odds for name in ("here/real/source", "here/B/source"))
    expected = np.mean((fake[None] > real[:, None]) + 0.5 * (fake[None] == real[:, None]))
    assert after[0].cells["here/B/source"] == pytest.approx(expected)
    del cut["here/B/low"]
    write_scores(path, cut)
    with pytest.raises(UnmaskError, match=r"was written for other tests: here/B/low is missing"):
        measure(protocol, out, 20)
