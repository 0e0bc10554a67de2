"""What an archive run found, in numbers and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.clips import portrait, write_image
from unmask.detection import archive_summary
from unmask.detection.archive import detect_archive
from unmask.detection.archive_summary import render_summary, summarise_archive
from unmask.errors import UnmaskError
from unmask.parts import Shard


def test_another_shard_may_write_while_this_one_is_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(tmp_path / f"{number}.png") for number in range(40)]
    paths = [next(name for name in names if Shard(index, 2).holds(name)) for index in range(2)]
    for path in paths:
        write_image(Path(path), portrait(224))
    out, latest = tmp_path / "out", archive_summary._latest
    detect_archive(paths, out, shard=Shard(1, 2))

    def meanwhile(parts: Sequence[Path]) -> object:
        found = latest(parts)
        detect_archive(paths, out, shard=Shard(0, 2))  # its part is sorted in before the first one
        return found

    monkeypatch.setattr(archive_summary, "_latest", meanwhile)
    assert summarise_archive(out)["files"] == 1
    monkeypatch.undo()
    assert summarise_archive(out)["files"] == 2


def test_a_page_lists_the_most_frequent_reasons_only() -> None:
    errors = {f"{number} x 9 pixels": 70 - number for number in range(60)}
    summary = {"files": 70, "verdicts": {}, "histogram": [0] * 20, "highest": [], "errors": errors, "made_with": None}
    page = render_summary(summary, "out")
    assert page.count("pixels") == 50
    assert f'10 other reasons</td><td class="n">{sum(range(11, 21))}<' in page
    assert "other reason" not in render_summary({**summary, "errors": {"cut off": 3}}, "out")


def test_a_part_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-0-of-1-000000.parquet").write_bytes(b"no table")
    with pytest.raises(UnmaskError, match="not a readable part"):
        summarise_archive(tmp_path)
