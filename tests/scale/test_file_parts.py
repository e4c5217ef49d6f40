from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.scale import FileParts, Stretch, TextFiles, characters_of, parts_of, so_many
from nlpkit.text_files import read_lines

LINES = st.lists(st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]), max_size=6))


@given(LINES, st.integers(1, 9))
def test_parts_hold_what_there_is_in_order(lines: list[str], size: int) -> None:
    by_number, by_characters = list(so_many(size)(lines)), list(characters_of(size)(lines))
    assert list(chain(*by_number)) == list(chain(*by_characters)) == lines
    assert all(len(part) == size for part in by_number[:-1])
    for part in by_characters[:-1]:
        assert sum(map(len, part[:-1])) < size <= sum(map(len, part))


@given(st.lists(LINES, min_size=1, max_size=3), st.integers(0, 20), st.integers(1, 4))
def test_files_go_on_after_any_line(files: list[list[str]], skip: int, size: int) -> None:
    with TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.txt") for number in range(len(files))]
        for path, lines in zip(paths, files, strict=True):
            path.write_bytes("".join(f"{line}\n" for line in lines).encode())
        everything = list(chain(*files))
        texts = TextFiles(paths).after(skip)
        assert list(texts) == list(texts) == everything[skip:]
        assert list(chain(*parts_of(texts, so_many(size)))) == everything[skip:]
        assert list(texts.after(2)) == everything[skip + 2 :]


def test_a_part_is_of_one_file_and_texts_of_other_kinds_are_cut_as_they_come(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("一\n二\n三\n", "utf-8")
    parts = FileParts((Stretch(tmp_path / "a"), Stretch(tmp_path / "b", 1)), read_lines, so_many(2))
    assert list(parts) == [["一", "二"], ["三"], ["二", "三"]]
    assert list(parts_of(iter(["一", "二", "三"]), so_many(2))) == [["一", "二"], ["三"]]


def test_what_is_no_text_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="text 1 is a int; every text must be a str"):
        list(characters_of(4)(["一", 2]))  # type: ignore[list-item]
    with pytest.raises(ValueError, match="there are no files; name one or more"):
        TextFiles([])
    with pytest.raises(TypeError, match=r"paths is one text, 'a\.txt'; give a list of them"):
        TextFiles("a.txt")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing\.txt"):
        list(TextFiles([tmp_path / "missing.txt"]))
