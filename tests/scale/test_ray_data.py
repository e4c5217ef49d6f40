import gzip
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from nlpkit.perturbed_masking import CountedLinks, discover_words
from nlpkit.perturbed_masking.counts.counting import count_corpus
from nlpkit.scale import FileParts, Here, RayData, Stretch, TextFiles, so_many
from nlpkit.text_files import read_lines
from nlpkit.vocabulary_pruning.counting.token_counts import count_tokens
from nlpkit.wobert import build_vocabulary
from tests.scale.on_parts import killed_once, lengths, process, read_and_note, refusing, two_processes

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[scale]'")
SENTENCES = ["今天天气不错，我们去公园散步。", "", "酒店的服务态度很好，房间也干净。", "他在北京大学读书。"]


@pytest.fixture(scope="module")
def engine() -> Iterator[RayData]:
    yield RayData(workers=2)
    ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.txt").write_text("一\n二\n三\n四\n五\n六\n七\n八\n九\n", "utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\n".join(SENTENCES * 30).encode()))
    (tmp_path / "c.txt").touch()
    return sorted(tmp_path.iterdir())


def parts(files: list[Path], size: int = 2) -> FileParts[str]:
    return FileParts(tuple(map(Stretch, files)), read_lines, so_many(size))


@pytest.mark.slow
def test_parts_and_results_are_those_of_one_process(engine: RayData, files: list[Path]) -> None:
    assert list(engine.map(parts(files), lengths)) == list(Here().map(parts(files), lengths))
    assert list(engine.map(parts(files[-1:]), lengths)) == []


@pytest.mark.slow
def test_workers_share_the_parts(engine: RayData, files: list[Path], tmp_path: Path) -> None:
    work = partial(two_processes, tmp_path)
    assert len({result for _, result in engine.map(parts(files), work)}) == 2


@pytest.mark.slow
def test_parts_of_a_killed_worker_are_worked_on_again(
    engine: RayData, files: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "killed"
    found = list(engine.map(parts(files), partial(killed_once, marker)))
    assert capfd.readouterr().out == ""  # where verbs write their results
    assert marker.exists()
    assert [part for part, _ in found] == [part for _, part in found] == list(parts(files))


@pytest.mark.slow
def test_reading_waits_while_nobody_takes_results(engine: RayData, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("雨\n" * 2_000, "utf-8")
    notes = tmp_path / "notes"
    long = FileParts((Stretch(tmp_path / "long.txt"),), partial(read_and_note, notes), so_many(1))
    answers = engine.map(long, process)  # a fifth of a second for 3 MB, of 6 GB in all
    for _ in range(20):
        next(answers)
    assert 20 <= len(notes.read_text()) < 500  # of 2,000, and the 20 that are read here


@pytest.mark.slow
def test_what_is_wrong_is_told_as_it_would_be_here(engine: RayData, files: list[Path]) -> None:
    with pytest.raises(ValueError, match="七 is no good"):
        list(engine.map(parts(files), refusing))
    (files[0].parent / "b.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"b\.txt\.gz is cut off or broken"):
        list(engine.map(parts(files), lengths))


def test_what_it_cannot_read_is_named(files: list[Path]) -> None:
    with pytest.raises(TypeError, match=r"give texts as TextFiles\(\[...\]\), not a list"):
        RayData(2).map([["一"]], lengths)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*z\.txt"):
        RayData(2).map(parts([files[0].with_name("z.txt")]), lengths)
    os.mkfifo(pipe := files[0].with_name("pipe"))
    with pytest.raises(ValueError, match="pipe is no file that Ray's workers can read; save the texts in one"):
        RayData(2).map(parts([pipe]), lengths)
    with pytest.raises(ValueError, match="workers=0 must be 1 or more"):
        RayData(0)


@pytest.mark.slow
def test_counts_are_those_of_one_process(engine: RayData, files: list[Path], tmp_path: Path) -> None:
    texts = TextFiles(files)
    base = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天", "好"]
    assert build_vocabulary(base, corpus=texts, size=300, processes=engine) == build_vocabulary(
        base, corpus=texts, size=300
    )
    links = CountedLinks.from_pretrained("counts-zh", show_progress=False)
    found = discover_words(texts, source=links, processes=engine)
    assert found == discover_words(texts, source=links)
    assert found
    backend = Tokenizer(WordLevel({"?": 0, "今天": 1}, unk_token="?"))
    backend.pre_tokenizer = Whitespace()
    assert (count_tokens(texts, backend, processes=engine).counts == count_tokens(texts, backend).counts).all()
    counts = count_corpus(texts, tmp_path / "ray", processes=engine, part_characters=200)
    here = count_corpus(texts, tmp_path / "here", part_characters=200)
    for length in (1, 2, 3):
        assert (counts.by_length[length].counts == here.by_length[length].counts).all()
        assert (counts.by_length[length].keys == here.by_length[length].keys).all()


@pytest.mark.slow
def test_a_count_goes_on_in_files_that_have_grown(engine: RayData, files: list[Path], tmp_path: Path) -> None:
    count_corpus(TextFiles(files[:1]), tmp_path / "counts", processes=engine)
    grown = count_corpus(TextFiles(files), tmp_path / "counts", processes=engine)
    assert grown.count("天气") == 30
