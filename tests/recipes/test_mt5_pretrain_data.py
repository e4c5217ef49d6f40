"""Pairs of public sets, cut to what may be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.data import read_pairs
from recipes.mt5_pretrain_data import SETS, main, training_pairs


def test_rows_that_another_part_has_too_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("题一\t文一\n题二\t文二\n题三\t文三\n", "utf-8")
    (tmp_path / "dev.tsv").write_text("题二\t文四\n题五\t文三\n", "utf-8")
    assert training_pairs(tmp_path, ("target", "source")) == [{"source": "文一", "target": "题一"}]


def test_a_folder_without_a_training_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.tsv, \.tsv\.gz or \.tsv\.xz; see docs/data\.md"):
        training_pairs(tmp_path, ("source", "target"))


@pytest.mark.shared
def test_public_sets_are_read(shared_data: Path, tmp_path: Path) -> None:
    main([str(shared_data / "seq2seq"), str(tmp_path)])
    found = {name: read_pairs(tmp_path / f"{name}.jsonl") for name in SETS}
    assert {name: len(pairs) for name, pairs in found.items()} == {"csl": 1799, "lcsts": 8552, "modern": 57197}
    for name in ("csl", "lcsts"):
        longer = sum(len(pair["source"]) > len(pair["target"]) for pair in found[name])
        assert longer > 0.95 * len(found[name])
