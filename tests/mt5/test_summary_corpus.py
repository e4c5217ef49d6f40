"""Documents of neighbouring sentences as rows of what is left and a pseudo-summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.mt5 import SummaryCorpus, pseudo_summary, split_sentences
from tests.data.test_pair_corpus import characters
from tests.data.written_corpus import REVIEWS, WEATHER, lines

TEXTS = lines(WEATHER, 30, seed=0) + lines(REVIEWS, 30, seed=1)


def corpus(folder: Path, texts: list[str] = TEXTS, **changes: object) -> SummaryCorpus:
    path = folder / "texts.txt"
    path.write_text("\n".join(texts) + "\n", "utf-8")
    settings = {"source_length": 60, "target_length": 40, "run_lines": 3, "held_out_every": 4} | changes
    return SummaryCorpus([path], characters("".join(TEXTS) + "摘要："), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("held_out", [True, False])
def test_documents_are_stretches_of_one_run_taken_apart(tmp_path: Path, held_out: bool) -> None:
    found = corpus(tmp_path)
    (path,) = found.files
    runs = ["".join(TEXTS[start : start + 3]) for start in range(0, len(TEXTS), 3)]
    runs = [run for number, run in enumerate(runs) if (number % 4 == 0) == held_out]
    left_over = []
    for pair in found.pairs(path, held_out):
        # Each pair is the next stretch of a run: nothing is joined over runs, or said twice.
        size, sentences = len(pair["source"] + pair["target"]), split_sentences(pair["source"] + pair["target"])
        while sorted(split_sentences(runs[0][:size])) != sorted(sentences):
            first = split_sentences(runs[0])[0]
            left_over.append(first)
            runs[0] = runs[0][len(first) :]
            runs = [run for run in runs if run]
        again = pseudo_summary(runs[0][:size])
        assert again is not None and (again.source, again.summary) == (pair["source"], pair["target"])
        runs[0] = runs[0][size:]
        runs = [run for run in runs if run]
    # A sentence alone has no summary: the last one of a run may be left over.
    assert len(left_over) + len(runs) <= len(TEXTS) // 3 and all(len(split_sentences(run)) == 1 for run in runs)


def test_rows_fit_and_begin_with_the_prefix(tmp_path: Path) -> None:
    found = corpus(tmp_path, source_length=40, target_length=25, prefixes={"texts": "摘要："})
    (path,) = found.files
    prefix, end = found.encode(["摘要："])[0], found.tokenizer.eos_token_id
    rows = list(found.rows(path, held_out=False))
    assert rows
    for row in rows:
        assert len(row["input_ids"]) <= 40 and len(row["labels"]) <= 25
        assert row["input_ids"][:3] == prefix and row["input_ids"][-1] == row["labels"][-1] == end
    assert len(rows) < len(list(found.pairs(path, held_out=False)))


def test_a_document_ends_with_a_line_once_it_is_half_full(tmp_path: Path) -> None:
    line = "天气很好。我们去公园。"  # 11 tokens
    found = corpus(tmp_path, [line] * 6, source_length=31, run_lines=6)  # documents of up to 40 tokens, half is 20
    (path,) = found.files
    assert [len(pair["source"] + pair["target"]) for pair in found.pairs(path, held_out=True)] == [22, 22, 22]


def test_texts_without_two_sentences_are_an_error(tmp_path: Path) -> None:
    found = corpus(tmp_path, ["只有一句话没有句号"] * 20, run_lines=1)
    message = "domain 'texts' yields no training pseudo-summaries.*they need documents of two sentences at least"
    with pytest.raises(ValueError, match=message):
        found.dataset(held_out=False, cache_dir=str(tmp_path / "cache"))


def test_shares_are_part_of_what_rows_are_known_by(tmp_path: Path) -> None:
    assert corpus(tmp_path).fingerprint(False) != corpus(tmp_path, summary_share=0.3).fingerprint(False)
    with pytest.raises(ValueError, match="share=1 must be above 0 and below 1"):
        corpus(tmp_path, summary_share=1)
