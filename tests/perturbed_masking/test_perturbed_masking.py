"""The public class: from a folder to matrices, words and trees, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.perturbed_masking.words.segmentation import MeanWordLength
from tests.perturbed_masking.small_models import SENTENCES, SIZES, bert, tokenizer


def masking(model: Any, **settings: Any) -> PerturbedMasking:
    return PerturbedMasking(model, tokenizer(), show_progress=False, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    bert().save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def test_a_folder_gives_what_the_model_gives(folder: Path) -> None:
    loaded = PerturbedMasking.from_pretrained(
        folder, device="cpu", measure=Measure(distance="probability"), show_progress=False
    )
    for one, other in zip(
        loaded.impact(SENTENCES),
        masking(bert(), measure=Measure(distance="probability")).impact(SENTENCES),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_repository_in_the_hubs_cache_gives_what_the_folder_gives(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--words"
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text("0" * 40)
    hub = {"cache_dir": tmp_path, "revision": "v1", "local_files_only": True}
    loaded = PerturbedMasking.from_pretrained("someone/words", device="cpu", show_progress=False, **hub)
    np.testing.assert_array_equal(loaded.impact(SENTENCES[:1])[0], masking(bert()).impact(SENTENCES[:1])[0])
    with pytest.raises(FileNotFoundError, match="'someone/nothing' is no folder here and no shipped model"):
        PerturbedMasking.from_pretrained("someone/nothing", cache_dir=tmp_path, local_files_only=True)


def test_an_encoder_without_a_head_has_states_only(folder: Path, tmp_path: Path) -> None:
    bert().base_model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    bare = PerturbedMasking.from_pretrained(tmp_path, device="cpu", show_progress=False)
    np.testing.assert_array_equal(bare.impact(SENTENCES[:1]), masking(bert()).impact(SENTENCES[:1]))
    with pytest.raises(
        ValueError, match=r"distance='jensen_shannon' .* no trained vocabulary head; use 'euclidean' or 'cosine'"
    ):
        PerturbedMasking.from_pretrained(tmp_path, device="cpu", measure=Measure(distance="jensen_shannon"))
    with pytest.raises(ValueError, match="no trained vocabulary head"):
        masking(bert().base_model, measure=Measure(distance="probability"))


def test_an_encoder_in_memory_with_a_pooler() -> None:
    torch.manual_seed(5)
    found = masking(BertModel(BertConfig(**SIZES)).eval()).impact(SENTENCES[:1])
    assert found[0].shape == (6, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measure": Measure(0)}, "layer=0, but the model has the layers 1 to 3"),
        ({"measure": Measure(4)}, "layer=4, but the model has the layers 1 to 3"),
        ({"measure": Measure(-4)}, "layer=-4, but the model has the layers 1 to 3"),
        ({"measure": Measure(1, "manhattan")}, "distance='manhattan' is unknown; use one of euclidean, cosine"),
        ({"measure": Measure(1, "cosine", "sum")}, "merge='sum' is unknown; use one of vectors, first, mean, max"),
        ({"measure": Measure(2, "probability")}, "are made from layer 3, the last; layer=2 has none"),
        ({"overlong": "cut"}, "overlong='cut' is unknown; use 'refuse' or 'split'"),
        ({"batch_tokens": 0}, "batch_tokens is 0; give the tokens per batch, 1 or more"),
        ({"units": "bytes"}, "units='bytes' is unknown"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masking(bert(), **settings)


def test_bad_calls_are_named() -> None:
    with pytest.raises(ValueError, match="bf16=True comes too late for a MaskedEncoder without it"):
        masking(MaskedEncoder(bert()), bf16=True)
    parser = masking(bert())
    with pytest.raises(TypeError, match="sentences is one text, '今天'; give a list of them"):
        parser.impact("今天")
    with pytest.raises(TypeError, match="texts is one text, '今天'; give a list of them"):
        parser.segment("今天")
    with pytest.raises(TypeError, match=r"only texts can be segmented, not \['今', '天'\]"):
        parser.segment([["今", "天"]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="reach is 0"):
        parser.impact(["今天"], reach=0)
    with pytest.raises(ValueError, match="has 42 tokens, the model takes 40"):
        parser.impact(["天" * 40])


def test_parts_of_a_long_sentence_have_no_impact_on_each_other() -> None:
    text = "今天天气不错，我们去吧。" * 6  # 72 characters
    parser = masking(bert().double(), overlong="split")
    matrix = parser.impact([text, "天气"])[0]
    assert matrix.shape == (72, 72)
    first = masking(bert().double()).impact([text[:36]])[0]
    np.testing.assert_allclose(matrix[:36, :36], first, rtol=1e-6, atol=1e-8)
    assert not matrix[:36, 36:].any()
    assert not matrix[36:, :36].any()
    assert "".join(parser.segment([text])[0]) == text


def test_segments_follow_the_strengths() -> None:
    parser = masking(bert())
    text = "今天天气不错，我们X去吧"
    matrix = parser.impact([text])[0]
    words = parser.segment([text], threshold=0.0, relative=False)[0]
    assert words == ["今天天气不错", "，", "我们", "X", "去吧"]
    for threshold in (1.0, 2.0, 3.0):
        cut = iter(parser.segment([text], threshold, relative=False)[0])
        word = next(cut)
        for place in range(1, len(text)):
            forced = text[place] in "，我X去"
            if forced or (matrix[place - 1, place] + matrix[place, place - 1]) / 2 < threshold:
                assert text[:place].endswith(word)
                word = next(cut)
    assert parser.segment(["", "，", "天"]) == [[], ["，"], ["天"]]


def test_relative_strengths_decide_unless_told_otherwise() -> None:
    parser = masking(bert())
    texts = ["今天天气不错", "我们去吧"]
    linked = list(parser.linked_texts(texts))
    assert parser.segment(texts, 0.5) == [text.relative().cut(0.5) for text in linked]
    assert parser.segment(texts, 2.0, relative=False) == [text.cut(2.0) for text in linked]


def test_a_threshold_may_be_found_on_a_sample() -> None:
    parser = masking(bert())
    texts = ["今天天气不错", "我们去吧", "天气不错"]
    on_all = parser.segment(texts, MeanWordLength(2.0))
    assert list(parser.iter_segment(texts, MeanWordLength(2.0), sample=3)) == on_all
    first = list(parser.iter_segment(texts[:1], MeanWordLength(2.0)))
    assert next(parser.iter_segment(texts, MeanWordLength(2.0), sample=1)) == first[0]
    assert sum(map(len, on_all)) == 7  # 14 characters


def test_trees_are_those_of_the_decoders() -> None:
    from nlpkit.perturbed_masking.trees.constituents import cky, mart
    from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner

    parser = masking(bert())
    sentences = ["今天天气不错", ["unhappily", "sat", "the", "cats"], "天"]
    matrices = parser.impact(sentences)
    assert parser.dependencies(sentences) == [eisner(matrix) for matrix in matrices]
    assert parser.dependencies(sentences, "edmonds", root=1) == [edmonds(matrix, root=1) for matrix in matrices]
    assert parser.dependencies([""]) == [[]]
    assert parser.constituents(sentences, "mart") == [mart(matrix) for matrix in matrices]
    assert (
        parser.constituents(sentences) == parser.constituents(sentences, cky) == [cky(matrix) for matrix in matrices]
    )
    with pytest.raises(
        ValueError, match="decoder='mst' is unknown; use 'eisner', 'edmonds', or a function of a matrix"
    ):
        parser.dependencies(sentences, "mst")
