"""Text files: found, read line by line, and refused with a reason."""

from __future__ import annotations

import gzip
import itertools
import lzma
from collections import Counter

import pytest

from nlpkit.data.text_corpus import (
    domain_of,
    draw_lines,
    find_text_files,
    read_runs,
    read_sample,
    read_whole_runs,
)
from nlpkit.text_files import read_lines

# Separators that str.splitlines would cut at.
LINES = ["第一行\u2028还是第一行", "", "第三行\x85\x0b\x1c还是第三行", " \t", "最后一行"]


@pytest.fixture(params=["a.txt", "a.txt.gz", "a.txt.xz"])
def written(tmp_path, request):
    path = tmp_path / request.param
    opener = {".txt": open, ".gz": gzip.open, ".xz": lzma.open}[path.suffix]
    with opener(path, "wb") as file:
        file.write("\n".join(LINES).encode("utf-8"))
    return path


def test_lines_are_cut_at_line_feeds_only(written):
    assert list(read_lines(written)) == LINES


def test_runs_are_counted_over_all_lines_and_blank_lines_left_out(written):
    assert list(read_runs(written, run_lines=2, keep=lambda run: run != 0)) == [LINES[2], LINES[4]]
    assert list(read_runs(written, run_lines=2, keep=lambda run: run == 0)) == [LINES[0]]


def write_lines(path, count):
    path.write_text("".join(f"{path.stem} {number}\n" for number in range(count)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("share", "expected"), [(0.25, 25), (0.33, 33), (0.6, 60), (1.0, 100)])
def test_a_sample_is_spread_evenly_and_other_domains_are_whole(tmp_path, share, expected):
    files = [write_lines(tmp_path / "law.txt", 100), write_lines(tmp_path / "news.txt", 7)]
    lines = list(read_sample(files, {"law": share}))
    numbers = [int(line.split()[1]) for line in lines if line.startswith("law")]
    assert len(numbers) == expected
    gaps = {after - before for before, after in itertools.pairwise(numbers)}
    assert gaps <= {int(1 / share), int(1 / share) + 1}
    assert lines[len(numbers) :] == [f"news {number}" for number in range(7)]


def test_a_sample_leaves_blank_lines_out(written):
    assert list(read_sample([written], {})) == [LINES[0], LINES[2], LINES[4]]


@pytest.mark.parametrize("shares", [{"law": 0.0}, {"law": 1.5}, {"poetry": 0.5}])
def test_a_share_that_means_nothing_is_an_error(tmp_path, shares):
    files = [write_lines(tmp_path / "law.txt", 3)]
    with pytest.raises(ValueError, match=r"must be of one of \['law'\] and in \(0, 1\]"):
        list(read_sample(files, shares))


def test_files_are_found_by_glob_once_and_in_order(tmp_path):
    for name in ["news.txt", "law.txt.xz", "notes.md"]:
        (tmp_path / name).write_bytes(b"")
    found = find_text_files([str(tmp_path / "*.txt*"), str(tmp_path / "news.txt")])
    assert [path.name for path in found] == ["law.txt.xz", "news.txt"]
    assert [domain_of(path) for path in found] == ["law", "news"]


def test_a_pattern_without_a_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file matches '.*missing\*\.txt'"):
        find_text_files([str(tmp_path / "missing*.txt")])


def test_no_pattern_is_an_error():
    with pytest.raises(ValueError, match="no text files are given"):
        find_text_files([])


def test_a_file_of_another_kind_is_an_error(tmp_path):
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"corpus\.parquet is not a text file of a known kind: \.txt, \.gz, \.xz"):
        find_text_files([str(tmp_path / "*")])


def test_bytes_that_are_not_utf8_are_an_error_that_says_where(tmp_path):
    path = tmp_path / "gbk.txt"
    path.write_bytes("一\n二\n".encode() + "三".encode("gbk"))
    with pytest.raises(ValueError, match=r"gbk\.txt, line 3 is not UTF-8"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut off", "not compressed"])
def test_a_broken_compressed_file_is_an_error(tmp_path, suffix, damage):
    path = tmp_path / f"a.txt{suffix}"
    compress = {".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    text = ("天气不错\n" * 1000).encode()
    path.write_bytes(compress(text)[:-10] if damage == "cut off" else text)
    with pytest.raises(ValueError, match=f"a.txt{suffix} is cut off or broken as a compressed file"):
        list(read_lines(path))


def test_each_line_has_the_same_chance_to_be_drawn_and_few_lines_all_stay():
    counts = Counter(line for seed in range(400) for line in draw_lines(map(str, range(20)), limit=5, seed=seed))
    assert set(counts) == set(map(str, range(20)))
    assert all(abs(count - 100) < 5 * 100**0.5 for count in counts.values())
    assert draw_lines("abc", limit=5, seed=0) == ["a", "b", "c"]
    assert draw_lines(map(str, range(50)), 5, seed=1) == draw_lines(map(str, range(50)), 5, seed=1)


def test_whole_runs_are_neighbours(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a\n\nb\nc\n\n\nd\ne", encoding="utf-8")
    assert list(read_whole_runs(path, 2, lambda run: True)) == [["a"], ["b", "c"], ["d", "e"]]
    assert list(read_whole_runs(path, 3, lambda run: run != 1)) == [["a", "b"], ["d", "e"]]
