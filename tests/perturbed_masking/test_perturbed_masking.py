"""The public class: from a folder to matrices, words and trees, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from nlpkit import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.constituents import cky, mart
from nlpkit.perturbed_masking.trees.decoders import leaning_cky, leaning_eisner
from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner
from nlpkit.perturbed_masking.trees.distorted_spans import least_distorted
from nlpkit.perturbed_masking.trees.votes import vote_on_constituents, vote_on_heads
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
    with pytest.raises(FileNotFoundError, match="'someone/nothing' is no folder here and none of the models by name"):
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
    parser = masking(bert(), measure=Measure(2))
    sentences = ["今天天气不错", ["unhappily", "sat", "the", "cats"], "天"]
    matrices = parser.impact(sentences)
    assert parser.dependencies(sentences) == [leaning_eisner(matrix) for matrix in matrices]
    assert parser.dependencies(sentences, "edmonds", root=1) == [edmonds(matrix, root=1) for matrix in matrices]
    assert parser.dependencies([""]) == [[]]
    assert parser.constituents(sentences, "mart") == [mart(matrix) for matrix in matrices]
    assert parser.constituents(sentences, cky) == [cky(matrix) for matrix in matrices]
    assert parser.constituents(sentences) == [leaning_cky(matrix) for matrix in matrices]
    with pytest.raises(ValueError, match="decoder='mst' is unknown; use 'leaning_eisner', 'eisner', 'edmonds', or a"):
        parser.dependencies(sentences, "mst")


def test_where_no_measure_is_chosen_every_layer_has_a_vote() -> None:
    sentences = ["今天天气不错", ["unhappily", "sat", "the", "cats", "on", "mats"]]
    layers = [masking(bert(), measure=Measure(layer)) for layer in (1, 2, 3)]
    votes = zip(*(parser.dependencies(sentences, "eisner") for parser in layers), strict=True)
    assert masking(bert()).dependencies(sentences, "eisner") == [vote_on_heads(trees) for trees in votes]
    trees = zip(*(parser.constituents(sentences, "cky") for parser in layers), strict=True)
    assert masking(bert()).constituents(sentences, "cky") == [vote_on_constituents(each) for each in trees]


def test_marks_are_on_the_root_or_words_like_any() -> None:
    parser = masking(bert(), measure=Measure(3))
    text = "今天天气，不错。"
    marks = [4, 7]
    (heads,) = parser.dependencies([text], "eisner")
    assert {heads[place] for place in marks} == {heads.index(0) + 1}
    (matrix,) = parser.impact([text])
    assert parser.dependencies([text], "eisner", marks="words") == [eisner(matrix)]
    with pytest.raises(ValueError, match="marks='none' is unknown; use 'root' or 'words'"):
        parser.dependencies([text], marks="none")  # type: ignore[arg-type]


def test_distortion_is_a_decoder_of_constituents() -> None:
    parser = masking(bert(), measure=Measure(2))
    sentences = ["今天天气不错", ["the", "cats", "sat"]]
    tables = [found.tables[0] for found in parser.iter_distortions(sentences)]
    assert parser.constituents(sentences, "distortion") == [least_distorted(table) for table in tables]
    assert [found.tables.shape for found in masking(bert()).iter_distortions(sentences)] == [(3, 6, 7), (3, 3, 4)]
    with pytest.raises(ValueError, match="has 38 tokens, with the commas of distortion 40; the model takes 39"):
        short = masking(bert(), measure=Measure(2))
        short.units.max_length = 39
        short.constituents(["天" * 36], "distortion")
    with pytest.raises(ValueError, match="distance='cosine' is not what distortion compares; use 'euclidean'"):
        masking(bert(), measure=Measure(2, "cosine")).constituents(sentences, "distortion")


@pytest.mark.parametrize("decoder", ["leaning_eisner", "cky", "distortion"])
def test_parses_hold_the_words_and_the_tree(decoder: str) -> None:
    parser = masking(bert())
    sentences = ["今天天气", "", ["the", "cats", "sat"], Sentence.of(["我们", "去"])]
    first, nothing, second, third = parser.iter_parses(sentences, decoder)
    assert nothing is None and first is not None and second is not None and third is not None
    assert [one.sentence.forms for one in (first, second, third)] == [list("今天天气"), sentences[2], ["我们", "去"]]
    if decoder == "distortion":
        assert first.impact is None and first.tree == parser.constituents(sentences[:1], decoder)[0]
    else:
        assert np.shape(first.impact) == (4, 4)
        trees = parser.dependencies if decoder == "leaning_eisner" else parser.constituents
        assert [first.tree, second.tree] == trees([sentences[0], sentences[2]], decoder)


@pytest.mark.parametrize("decoder", ["leaning_cky", "cky", "top_down", "mart", "distortion"])
@pytest.mark.parametrize("empty", ["", [], " "])
def test_a_sentence_without_words_has_no_tree_of_constituents(decoder: str, empty: Any) -> None:
    parser = PerturbedMasking(bert(), tokenizer(), show_progress=False)
    assert parser.dependencies(["今天", empty])[1] == []
    with pytest.raises(ValueError, match="sentence 1 has no words, and so no tree of constituents; leave it out"):
        parser.constituents(["今天", empty], decoder)


def test_a_distance_is_no_measure() -> None:
    for distance in ("cosine", "probability"):
        with pytest.raises(
            TypeError, match=rf'measure=.* is no Measure; give one, such as Measure\(distance="{distance}"'
        ):
            masking(bert(), measure=distance)
    with pytest.raises(TypeError, match="measure='l2' is no Measure; give one, such as Measure"):
        list(masking(bert()).iter_measures(SENTENCES, ["l2"]))  # type: ignore[list-item]


def test_a_model_without_a_tokenizer_is_not_measured(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no tokenizer"):
        PerturbedMasking.from_pretrained(tmp_path, device="cpu")


@pytest.mark.parametrize("measure", [Measure(2), None])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0], r"the decoder own answered \[0\] for 3 units; a decoder gives the head of each unit, .* from 1 to 3"),
        (None, "the decoder own answered None for 3 units"),
        ([0, 1, 4], r"answered \[0, 1, 4\] for 3 units"),
        ([0.0, 1.5, 1.0], "for 3 units"),
        ([[1], [2, 3]], "for 3 units"),
        ([2, 1, 0], r"answered \[2, 1, 0\], in which no head leads from the units \[1, 2\] to a root"),
    ],
)
def test_heads_of_a_users_function_that_are_no_tree_are_refused(measure: Any, answer: Any, message: str) -> None:
    def own(impact: Any) -> Any:
        return answer

    parser = masking(bert()) if measure is None else masking(bert(), measure=measure)
    with pytest.raises(ValueError, match=message):
        parser.dependencies([["unhappily", "sat", "cats"]], own)


def test_what_is_no_tree_of_constituents_is_refused() -> None:
    words = [["unhappily", "sat", "cats"]]
    with pytest.raises(ValueError, match=r"the decoder <lambda> answered None for 3 units; a decoder gives a Tree"):
        masking(bert()).constituents(words, lambda impact: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"answered Tree\(.* for 3 units; a decoder gives a Tree from 0 to 3"):
        masking(bert()).constituents(words, lambda impact: cky(impact[:2, :2]))
    assert masking(bert()).dependencies(words, lambda impact: np.array([2, 0, 2])) == [[2, 0, 2]]


def test_half_a_surrogate_pair_is_named_by_its_text(small_vocabulary: dict[str, int]) -> None:
    model = WoBertForMaskedLM(WoBertConfig(**SIZES | {"vocab_size": len(small_vocabulary)})).eval()
    parser = PerturbedMasking(model, WoBertTokenizer(small_vocabulary), show_progress=False)
    for ask in (parser.segment, parser.dependencies):
        with pytest.raises(ValueError, match=r"^the text '\\ud800好' has a lone surrogate"):
            ask(["好", "\ud800好"])
