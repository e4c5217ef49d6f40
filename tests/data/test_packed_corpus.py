"""Text files as rows: split into parts, cached, streamed, and refused with a reason."""

from __future__ import annotations

from itertools import islice

import pytest
from torch.utils.data import DataLoader

from nlpkit.data.packed_corpus import PackedCorpus, PackedStream
from nlpkit.text_files import read_lines
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.data.written_corpus import REVIEWS, WEATHER, tokenizer, write_corpus

TOKENIZER = tokenizer()


@pytest.fixture
def corpus(tmp_path):
    return PackedCorpus(write_corpus(tmp_path), TOKENIZER, block_size=16, run_lines=4, held_out_every=10)


def stream_of(lines):
    """The packed stream by the definition: each line's ids, then [SEP]."""
    return [token for line in lines for token in [*TOKENIZER(line, add_special_tokens=False)["input_ids"], 3]]


def contents(rows):
    return [int(token) for row in rows for token in row[1:]]


@pytest.mark.parametrize("held_out", [False, True])
def test_the_two_parts_share_out_the_lines_by_runs(corpus, held_out, tmp_path):
    rows = corpus.dataset(held_out, cache_dir=str(tmp_path / "cache"))
    for domain, path in enumerate(corpus.files):
        mine = [row["input_ids"] for row in rows if row["domain"] == domain]
        lines = [line for number, line in enumerate(read_lines(path)) if (number // 4 % 10 == 0) == held_out]
        assert contents(mine) == stream_of(line for line in lines if line)
        assert all(len(row) == 16 and row[0] == TOKENIZER.cls_token_id for row in mine[:-1])


def test_rows_are_made_once_for_the_same_files_tokenizer_and_settings(corpus, tmp_path):
    cache = tmp_path / "cache"

    def arrow_files(of):
        of.dataset(held_out=True, cache_dir=str(cache))
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.arrow")}

    first = arrow_files(corpus)
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    moved = [path.rename(elsewhere / path.name) for path in corpus.files]
    same = PackedCorpus(moved, tokenizer(), block_size=16, run_lines=4, held_out_every=10)
    assert arrow_files(same) == first
    assert len(arrow_files(PackedCorpus(moved, TOKENIZER, block_size=17, run_lines=4, held_out_every=10))) == 2
    with moved[0].open("a", encoding="utf-8") as file:
        file.write("天气晴朗。\n")
    assert len(arrow_files(same)) == 3


def test_several_processes_make_the_same_rows(corpus, tmp_path):
    one = corpus.dataset(held_out=False, cache_dir=str(tmp_path / "one"))
    two = corpus.dataset(held_out=False, num_proc=2, cache_dir=str(tmp_path / "two"))
    assert one[:] == two[:]


def test_the_first_held_out_rows_are_those_of_the_whole_part(corpus, tmp_path):
    whole = corpus.dataset(held_out=True, cache_dir=str(tmp_path / "cache"))
    first = corpus.first_held_out_rows(3)
    for domain in range(2):
        expected = [row["input_ids"] for row in whole if row["domain"] == domain][:3]
        assert [row["input_ids"].tolist() for row in first if row["domain"] == domain] == expected


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_file_that_is_not_utf8_is_an_error_that_leaves_nothing_behind(corpus, tmp_path, num_proc):
    corpus.files[1].write_bytes("天气\n".encode() * 50 + "晴朗".encode("gbk"))
    with pytest.raises(ValueError, match=r"weather\.txt, line 51 is not UTF-8"):
        corpus.dataset(held_out=False, num_proc=num_proc, cache_dir=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("text", ["", "\n \n\n"])
def test_a_domain_without_words_is_an_error(corpus, tmp_path, text):
    corpus.files[0].write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="domain 'reviews' yields no training text"):
        corpus.dataset(held_out=False, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="domain 'reviews' yields no held-out text"):
        corpus.first_held_out_rows(3)


def test_a_stream_of_a_domain_without_words_is_an_error(corpus):
    corpus.files[0].write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match="domain 'reviews' yields no training text for dataloader worker 1 of 1"):
        next(iter(PackedStream(corpus, {"weather": 0}, buffer_rows=2, seed=0)))


@pytest.mark.parametrize("shares", [{"weather": 0, "reviews": 0}, {"weather": -1}])
def test_a_stream_with_shares_that_make_no_sense_is_an_error(corpus, shares):
    with pytest.raises(ValueError, match="shares must not be negative, nor all text left out"):
        PackedStream(corpus, shares, buffer_rows=2, seed=0)


def test_a_file_whose_every_line_would_be_held_out_is_an_error(corpus, tmp_path):
    corpus.files[0].write_text("服务很好。\n" * 4, encoding="utf-8")
    with pytest.raises(ValueError, match="the first of every 10 runs of 4 lines is held out"):
        corpus.dataset(held_out=False, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize(("run_lines", "every"), [(0, 10), (4, 1), (4, 0)])
def test_settings_out_of_range_are_refused(corpus, run_lines, every):
    with pytest.raises(ValueError, match=f"no text is left to train on; got {run_lines} and {every}"):
        PackedCorpus(corpus.files, TOKENIZER, block_size=16, run_lines=run_lines, held_out_every=every)


def training_windows(corpus):
    """All that a full row may hold: every stretch of 15 tokens of a domain's endless training stream."""
    windows = set()
    for path in corpus.files:
        lines = [line for number, line in enumerate(read_lines(path)) if number // 4 % 10 and line]
        stream = stream_of(lines) * 2
        windows |= {tuple(stream[start : start + 15]) for start in range(len(stream) - 15)}
    return windows


def test_a_stream_gives_full_rows_of_training_text_without_end(corpus):
    rows = list(islice(PackedStream(corpus, {}, buffer_rows=50, seed=0), 1500))
    assert {len(row["input_ids"]) for row in rows} == {16}
    assert {tuple(row["input_ids"][1:].tolist()) for row in rows} <= training_windows(corpus)
    assert [row["draw"] for row in rows] == list(range(1500))


def test_a_stream_is_the_same_each_time_and_another_for_another_seed(corpus):
    def first(seed):
        return [row["input_ids"].tolist() for row in islice(PackedStream(corpus, {}, 20, seed), 100)]

    assert first(0) == first(0)
    assert first(0) != first(1)


def test_a_stream_mixes_domains_by_share_and_size(corpus):
    reviews_ids, weather_ids = (
        {token for part in domain for text in part for token in TOKENIZER(text)["input_ids"]}
        for domain in (REVIEWS, WEATHER)
    )
    weather = weather_ids - reviews_ids
    stream = PackedStream(corpus, {"weather": 0.5}, buffer_rows=1, seed=0)
    rows = list(islice(stream, 2000))
    found = sum(bool(weather & set(row["input_ids"].tolist())) for row in rows) / len(rows)
    sizes = [path.stat().st_size for path in corpus.files]
    assert abs(found - 0.5 * sizes[1] / (sizes[0] + 0.5 * sizes[1])) < 0.06


def test_workers_share_out_the_text_and_number_their_draws_apart(corpus):
    stream = PackedStream(corpus, {}, buffer_rows=1, seed=0)
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    rows = list(islice(loader, 200))
    assert len({row["draw"] for row in rows}) == 200
    halves = [{tuple(row["input_ids"].tolist()) for row in rows if row["draw"] % 2 == worker} for worker in range(2)]
    assert min(map(len, halves)) > 80
    assert len(halves[0] & halves[1]) < 5


@pytest.mark.shared
def test_real_abstracts_are_packed_whole_and_known(shared_data, wobert_vocabulary, tmp_path):
    path = shared_data / "corpus-zh" / "science.txt.xz"
    real = WoBertTokenizer(wobert_vocabulary)
    corpus = PackedCorpus([path], real, block_size=128)
    parts = [corpus.dataset(held_out, cache_dir=str(tmp_path)) for held_out in (True, False)]
    lines = sum(bool(line.strip()) for line in read_lines(path))
    assert sum(row["input_ids"].count(real.sep_token_id) for part in parts for row in part) == lines
    tokens = [token for row in parts[0] for token in row["input_ids"]]
    assert tokens.count(real.unk_token_id) < 0.03 * len(tokens)
