"""Lines and records of files, well-formed and not."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.text_files import decode_lines, read_lines, read_records

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), max_size=8),
    suffix=st.sampled_from(list(PACK)),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_any_lines_come_back(
    texts: list[str], suffix: str, end: str, mark: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("texts") / f"part.txt{suffix}"
    content = "".join(text + end for text in texts).encode()
    path.write_bytes(PACK[suffix]((b"\xef\xbb\xbf" if mark else b"") + content))
    expected = texts if mark or not texts else [texts[0].removeprefix("\ufeff"), *texts[1:]]
    assert list(read_lines(path)) == (expected if content else [""] * mark)


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=8),
    suffix=st.sampled_from(list(PACK)),
)
def test_any_record_comes_back(texts: list[str], suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("texts") / f"part.json{suffix}"
    lines = [json.dumps({"review": text}, ensure_ascii=False) + "\n" for text in texts]
    path.write_bytes(PACK[suffix]("".join(lines).encode()))
    assert [(number, record["review"]) for number, record in read_records(path)] == list(enumerate(texts, start=1))


def test_blank_lines_carriage_returns_and_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"review": "a"}\r\n\r\n{"review": "b"}')
    assert list(read_records(path)) == [(1, {"review": "a"}), (3, {"review": "b"})]
    (tmp_path / "part.csv").write_bytes(b"\xef\xbb\xbfreview\r\na\r\n")
    assert list(read_records(tmp_path / "part.csv")) == [(2, {"review": "a"})]


def test_a_cell_of_a_table_keeps_its_line_ends(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_bytes('review,label\n"一,\r\n二",good\n'.encode())
    assert list(read_records(tmp_path / "part.csv")) == [(3, {"review": "一,\r\n二", "label": "good"})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("part.json", b'{"review": "a"}\n{"review": \n', "part.json, line 2 is not JSON: "),
        ("part.json", b'{"review": "a"}\n["a"]\n', r"part.json, line 2 must be a JSON object; it is '\[\"a\"\]'"),
        ("part.json", b'{"review": "a"}\n{"review": "\xff"}\n', "part.json, line 2 is not UTF-8 .*; convert it"),
        ("part.csv", b"review,label\na,good,x\n", "part.csv, line 2 has 3 columns; the first has 2"),
        ("part.csv", b'review,label\n"a,good\n', "part.csv, line 2 is not a table row"),
        ("part.csv", b"label,label\na,good\n", "part.csv, line 1 names the column 'label' twice"),
        ("part.json", b'{"a": ' + b"[" * 10**5, "part.json, line 1 is not JSON"),
        ("part.json.xz", lzma.compress(b'{"a": 1}\n' * 99)[:-20], "part.json.xz is cut off or broken"),
        ("part.json.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-20], "part.json.gz is cut off or broken"),
        ("part.json.xz", b'{"review": "a"}\n', "part.json.xz is cut off or broken"),
        ("part.json.gz", b'{"review": "a"}\n', "part.json.gz is cut off or broken"),
        ("part.parquet", b"", "cannot tell how to read it; name it .json, .jsonl, .csv or .tsv"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_records(tmp_path / name))


@pytest.mark.parametrize("suffix", ["", ".GZ", ".Xz"])
def test_names_may_begin_with_the_home_folder_and_be_in_capitals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / f"A.CSV{suffix}").write_bytes(PACK[suffix.lower()](b"review\na\n"))
    assert list(read_lines(f"~/A.CSV{suffix}")) == ["review", "a"]
    assert list(read_records(f"~/A.CSV{suffix}")) == [(2, {"review": "a"})]


def test_the_home_folder_of_nobody_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file ~nobody-of-this-name/a\.txt"):
        read_lines("~nobody-of-this-name/a.txt")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no files of open descriptors here")
def test_a_pipe_is_read_as_a_file_is() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\n")
    os.close(writing)
    assert list(read_lines(f"/dev/fd/{reading}")) == ["a", "b"]
    os.close(reading)


def test_a_missing_file_is_named_before_the_first_line_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.txt"):
        read_lines(tmp_path / "none.txt")


def test_a_folder_is_no_missing_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        read_lines(tmp_path)


def test_an_open_file_is_called_as_it_is_told() -> None:
    with pytest.raises(ValueError, match=r"standard input, line 2 is not UTF-8"):
        list(decode_lines([b"a\n", b"\xff\n"], "standard input"))
