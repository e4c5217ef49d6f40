"""Counts of a corpus: parts add up, files hold what was counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nlpkit.perturbed_masking import CorpusCounts
from nlpkit.perturbed_masking.counts.corpus_counts import count_part, load_facts
from nlpkit.scale import characters_of
from tests.perturbed_masking.counts.test_runs import as_strings
from tests.perturbed_masking.counts.texts import some_texts
from tests.reference import character_links as reference


@given(some_texts, st.integers(1, 40))
def test_counts_of_parts_add_up_to_those_of_the_corpus(texts: list[str], size: int) -> None:
    counts = CorpusCounts()
    for part in characters_of(size)(texts):
        counts.add(count_part("\n".join(part)))
    for length, found in counts.by_length.items():
        assert as_strings(found.keys, found.counts, length) == reference.count(texts, length)
    assert counts.characters == reference.count(texts, 1).total()


def test_counts_are_asked_for_by_text() -> None:
    counts = CorpusCounts()
    counts.add(count_part("今天天气好，天气"))
    assert [counts.count(one) for one in ("天", "天气", "天天气", "好天", "龘")] == [3, 2, 1, 0, 0]
    for bad in ("", "今天天气", "a", "天，"):
        with pytest.raises(ValueError, match="is not counted; give 1 to 3 Chinese characters"):
            counts.count(bad)


def test_memory_limits_what_is_held() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(0x4E00, 0x9000, 5000))) for _ in range(40)]
    counts = CorpusCounts(memory=1_000_000)
    for text in texts:
        counts.add(count_part(text))
    held = sum(len(found) * 24 for found in counts.by_length.values())
    assert held < 1_000_000
    assert counts.by_length[3].floor > 0


def test_files_hold_the_counts(tmp_path: Path) -> None:
    counts = CorpusCounts(2_000_000)
    counts.add(count_part("今天天气好，天气"))
    counts.by_length[3].floor = 4
    counts.save(tmp_path / "counts.safetensors", {"texts": 1})
    loaded = CorpusCounts.load(tmp_path / "counts.safetensors")
    assert load_facts(tmp_path / "counts.safetensors") == {"texts": 1}
    assert loaded.memory == 2_000_000 and loaded.by_length[3].floor == 4
    for length, found in counts.by_length.items():
        for name in ("keys", "counts", "missed"):
            np.testing.assert_array_equal(getattr(loaded.by_length[length], name), getattr(found, name))


def test_bad_files_and_limits_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory=10 bytes hold too few counts"):
        CorpusCounts(10)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none; count_corpus writes one"):
        CorpusCounts.load(tmp_path / "none")
    CorpusCounts().save(tmp_path / "counts")
    content = (tmp_path / "counts").read_bytes()
    (tmp_path / "counts").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"damaged or cut off .* delete it, and count again"):
        CorpusCounts.load(tmp_path / "counts")
    save_file({"a": np.zeros(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="other holds no counts of character sequences"):
        CorpusCounts.load(tmp_path / "other")
