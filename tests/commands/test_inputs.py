"""What a command line means: every file once, and one that cannot be used costs no other."""

from __future__ import annotations

from pathlib import Path

from unmask.commands.inputs import inputs


def test_a_file_that_cannot_be_asked_about_costs_no_other(tmp_path: Path) -> None:
    """Root may enter every folder; a link to a name that no file can have is refused to root as well."""
    (tmp_path / "below").mkdir()
    for name in ("a.jpg", "c.jpg", "below/d.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "b.jpg").symlink_to("x" * 300)
    found = dict(inputs([str(tmp_path)]))
    good = [str(tmp_path / name) for name in ("a.jpg", "c.jpg", "below/d.jpg")]
    assert found == dict.fromkeys(good) | {str(tmp_path / "b.jpg"): "cannot be read (File name too long)"}


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    reason = "is a link that leads nowhere"
    assert list(inputs([str(tmp_path)])) == [(str(tmp_path / "a.jpg"), None), (str(tmp_path / "gone.jpg"), reason)]


def test_in_one_folder_links_give_every_file_once(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside.mp4"
    (folder / ".hidden").mkdir(parents=True)
    for file in (folder / "b.mp4", folder / ".hidden" / "h.mp4", outside):
        file.touch()
    for name, target in (("a", "b.mp4"), ("c", "b.mp4"), ("d", outside), ("e", outside), ("f", ".hidden/h.mp4")):
        (folder / f"{name}.mp4").symlink_to(target)
    found = [Path(path).name for path, problem in inputs([str(folder)]) if problem is None]
    assert found == ["b.mp4", "d.mp4", "f.mp4"]
