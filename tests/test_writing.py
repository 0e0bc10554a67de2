"""Results on disk: whole or not there, and as private as what they replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unmask.errors import UnmaskError
from unmask.writing import check_writable, replacing, write_text


def test_a_file_that_is_replaced_leaves_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    write_text(path, "old")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o600)
    write_text(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "results" / "p.json", tmp_path / "link.json"
    path.parent.mkdir()
    link.symlink_to(path)
    for content in ("first", "second"):  # at first the link leads to nothing
        check_writable(link)
        write_text(link, content)
        assert link.is_symlink()
        assert path.read_text() == content
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["link.json", "p.json", "results"]


def test_a_link_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "nowhere" / "p.json")
    with pytest.raises(UnmaskError, match="cannot be written"):
        check_writable(link)


def test_where_stdout_is_taken_a_dash_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnmaskError, match="-: stdout is taken"):
        check_writable("-")
    check_writable("./-")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match=r"gone/p\.bin: cannot be written"), replacing(tmp_path / "gone" / "p.bin"):
        pass
