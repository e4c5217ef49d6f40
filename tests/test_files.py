"""Folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.files import written_whole


def test_files_move_in_when_the_block_ends(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("old")
    (tmp_path / "out" / "replaced.txt").write_text("old")
    with written_whole(tmp_path / "out") as draft:
        (draft / "replaced.txt").write_text("new")
        (draft / "sub").mkdir()
        (draft / "sub" / "deep.txt").write_text("new")
        assert (tmp_path / "out" / "replaced.txt").read_text() == "old"
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"out/kept.txt": "old", "out/replaced.txt": "new", "out/sub/deep.txt": "new"}


def test_an_error_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), written_whole(tmp_path / "out") as draft:
        (draft / "half.txt").write_text("half")
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError, match="out is a file; give a folder"), written_whole(tmp_path / "out"):
        pass
