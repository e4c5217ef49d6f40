"""One segmenter for every source of links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from nlpkit.perturbed_masking import (
    LinkedText,
    LinkSource,
    MeanWordLength,
    MixedLinks,
    PerturbedMasking,
    iter_segment,
    segment,
    split_characters,
)
from nlpkit.perturbed_masking.words.mixing import deviation
from tests.perturbed_masking.small_models import bert, tokenizer

TEXTS = ["今天天气不错，我们去吧。", "", "天 气X", "不错不错吧今天"]


class Drawn:
    """Links drawn at random, always the same for a text."""

    def __init__(self, seed: int, scale: float = 1.0, shift: float = 0.0) -> None:
        self.seed, self.scale, self.shift = seed, scale, shift
        self.read = 0

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        for text in texts:
            self.read += 1
            spans = tuple(split_characters(text))
            rng = np.random.default_rng([self.seed, *map(ord, text)])
            yield LinkedText(text, spans, self.shift + self.scale * rng.normal(size=max(len(spans) - 1, 0)))


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("threshold", [MeanWordLength(1.5), 0.1])
def test_a_model_segments_as_any_source_does(relative: bool, threshold: float | MeanWordLength) -> None:
    masking = PerturbedMasking(bert(), tokenizer(), show_progress=False)
    assert segment(masking, TEXTS, threshold, relative=relative) == masking.segment(
        TEXTS, threshold, relative=relative
    )


def test_texts_stream_once_the_threshold_is_found() -> None:
    source = Drawn(0)
    words = iter_segment(source, iter(TEXTS * 10), sample=2)
    next(words)
    assert source.read == 2
    assert len(list(words)) == 39
    assert next(iter_segment(Drawn(0), TEXTS, 0.5)) == segment(Drawn(0), TEXTS[:1], 0.5)[0]


def mixed(sources: list[LinkSource], **options: object) -> list[np.ndarray]:
    return [text.strengths for text in MixedLinks(sources, **options).linked_texts(TEXTS)]  # type: ignore[arg-type]


def test_each_source_has_the_same_say_whatever_its_unit() -> None:
    one, other = mixed([Drawn(1), Drawn(2)]), mixed([Drawn(1, scale=9.0, shift=4.0), Drawn(2, scale=0.1)])
    for found, expected, text in zip(other, one, Drawn(0).linked_texts(TEXTS), strict=True):
        relative = [LinkedText(text.text, text.spans, strengths).relative() for strengths in (found, expected)]
        np.testing.assert_allclose(relative[0].strengths, relative[1].strengths, atol=1e-12)


def test_the_mixture_is_the_sum_of_z_scores() -> None:
    sources = [Drawn(1, scale=3.0), Drawn(2)]
    linked = [list(source.linked_texts(TEXTS)) for source in sources]
    relative = [np.concatenate([run for text in texts for run in text.relative().runs()]) for texts in linked]
    expected = [
        2.0 * one.strengths / relative[0].std() + other.strengths / relative[1].std()
        for one, other in zip(*linked, strict=True)
    ]
    for found, wanted in zip(mixed(sources, weights=[2.0, 1.0]), expected, strict=True):
        np.testing.assert_allclose(found, wanted)
    assert deviation(linked[0]) == pytest.approx(relative[0].std())


def test_borders_are_mixed_where_all_sources_have_one() -> None:
    class Bordered(Drawn):
        def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
            for text in super().linked_texts(texts):
                yield replace(text, border=-3.0)

    alone = segment(Bordered(1), TEXTS, MeanWordLength(1.5))
    assert segment(MixedLinks([Bordered(1), Bordered(1)]), TEXTS, MeanWordLength(1.5)) == alone
    (text, *_) = MixedLinks([Bordered(1), Drawn(1)]).linked_texts(TEXTS)
    assert text.border is None


def test_a_weight_of_nothing_leaves_a_source_out() -> None:
    alone = segment(Drawn(1), TEXTS, MeanWordLength(1.5))
    assert segment(MixedLinks([Drawn(1), Drawn(2)], [1.0, 0.0]), TEXTS, MeanWordLength(1.5)) == alone
    assert segment(MixedLinks([Drawn(1), Drawn(1)]), TEXTS, MeanWordLength(1.5)) == alone


def test_a_sample_gives_the_deviations_and_no_text_is_lost() -> None:
    whole = mixed([Drawn(1), Drawn(2)], sample=None)
    sampled = mixed([Drawn(1), Drawn(2)], sample=1)
    assert [len(one) for one in sampled] == [len(one) for one in whole]
    np.testing.assert_array_equal(mixed([Drawn(1), Drawn(2)], sample=99)[0], whole[0])
    assert list(MixedLinks([Drawn(1), Drawn(2)]).linked_texts([])) == []
    assert mixed([Drawn(1, scale=0.0), Drawn(2)])[3].any()  # all links alike say nothing


def test_counts_and_impact_mix() -> None:
    from nlpkit.perturbed_masking import CountedLinks

    counts = CountedLinks.from_pretrained(show_progress=False)
    masking = PerturbedMasking(bert(), tokenizer(), show_progress=False)
    words = segment(MixedLinks([counts, masking]), TEXTS)
    assert ["".join(one) for one in words] == [text.replace(" ", "") for text in TEXTS]


def test_what_does_not_mix_is_named() -> None:
    with pytest.raises(ValueError, match="1 source is nothing to mix; give two or more"):
        MixedLinks([Drawn(1)])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="do not fit 2 sources; give one per source, 0 or more"):
            MixedLinks([Drawn(1), Drawn(2)], weights)
    with pytest.raises(TypeError, match="texts is one text, '天气'; give a list of them"):
        list(MixedLinks([Drawn(1), Drawn(2)]).linked_texts("天气"))

    class Whole:
        def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
            for text in texts:
                yield LinkedText(text, ((0, len(text)),), np.zeros(0))

    with pytest.raises(
        ValueError, match="the sources cut '今天天气不错，我们去吧。' into different units; give units="
    ):
        list(MixedLinks([Drawn(1), Whole()]).linked_texts(TEXTS))
