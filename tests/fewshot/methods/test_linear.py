"""The simple rivals: what they find in texts alone, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from nlpkit.fewshot.grid.protocol import RunData
from nlpkit.fewshot.methods.linear import STRENGTHS, _FrozenMeans, frozen_means, tf_idf
from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.pet import Example, MeanStates
from tests.fewshot.methods.test_prompting import BAD, GOOD, HOTELS, IDIOMS, SETTINGS, reviews

PAIRS = FewShotTask("pairs", ("first", "second"), ("no", "yes"))


def run_of(folder: Path) -> RunData:
    return RunData(HOTELS, 0, 0, reviews(GOOD[:3], BAD[:3]), reviews(GOOD[3:], BAD[3:]), (), SETTINGS, folder)


@pytest.mark.parametrize("method", [tf_idf, frozen_means])
def test_training_texts_are_told_apart_and_the_penalty_is_devs_choice(method: object, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    outcome = method(run)  # type: ignore[operator]
    assert outcome.details["C"] in STRENGTHS
    trained = method(replace(run, dev=run.train))  # type: ignore[operator]
    assert trained.predict(run.train) == [example.label for example in run.train]


def test_frozen_means_are_those_of_the_model(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    outcome = frozen_means(run)
    encoder = MeanStates.from_pretrained("wobert-mini-zh", SETTINGS["max_length"])
    train = encoder([example.fields["review"] for example in run.train]).numpy()
    mean, spread = train.mean(axis=0), train.std(axis=0)
    regression = LogisticRegression(C=outcome.details["C"], max_iter=1000)
    regression.fit((train - mean) / spread, [example.label for example in run.train])
    texts = [*GOOD, *BAD, "一般般吧", "好极了"]
    expected = regression.predict((encoder(texts).numpy() - mean) / spread).tolist()
    assert outcome.predict([Example({"review": text}) for text in texts]) == expected


class _Counted(MeanStates):
    """Counts the texts that it reads."""

    def __init__(self, own: MeanStates) -> None:
        super().__init__(own.model.double(), own.tokenizer, own.max_length)
        self.read: list[str] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.read += texts
        return super().__call__(texts)


def test_no_text_is_read_twice_and_none_depends_on_its_company() -> None:
    encoder = _Counted(MeanStates.from_pretrained("wobert-mini-zh", 16))
    means = _FrozenMeans(encoder, {})
    texts = [text * number for number in (1, 2, 5) for text in [*GOOD, *BAD]]
    first, again = means(texts[:20] + texts[:3]), means(texts)
    assert sorted(encoder.read) == sorted(set(texts))
    assert (first[20:] == first[:3]).all()
    assert (again[:20] == first[:20]).all()
    for text, vector in zip(texts, again, strict=True):
        assert np.allclose(vector, encoder([text]).float().numpy()[0], atol=1e-6)


def test_counts_within_the_span_of_training_give_the_regression_on_all_of_them(tmp_path: Path) -> None:
    unlabelled = tuple(Example({"review": text}) for text in ["服务", "房间", "早餐很好"] * 20)
    run = replace(run_of(tmp_path), unlabelled=unlabelled)  # they tell which characters are rare
    outcome = tf_idf(run)
    counts = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    counts.fit([example.fields["review"] for example in (*run.train, *unlabelled)])
    train = counts.transform([example.fields["review"] for example in run.train])
    regression = LogisticRegression(C=outcome.details["C"], max_iter=1000, tol=1e-8)
    regression.fit(train, [example.label for example in run.train])
    texts = [good[start:] + bad[: start + 3] for good in GOOD for bad in BAD for start in range(8)]
    expected = regression.predict(counts.transform(texts)).tolist()
    assert outcome.predict([Example({"review": text}) for text in texts]) == expected


@pytest.mark.parametrize("method", [tf_idf, frozen_means])
def test_a_pair_is_what_both_texts_share_and_differ_in(method: object, tmp_path: Path) -> None:
    """Rows of equal texts against others: no single text tells the label."""
    texts = [*GOOD, *BAD]
    same = [Example({"first": text, "second": text}, "yes") for text in texts]
    other = [
        Example({"first": text, "second": second}, "no")
        for text, second in zip(texts, texts[1:] + texts[:1], strict=True)
    ]
    settings = SETTINGS | {"fields": ["first", "second"]}
    del settings["words"], settings["hypotheses"]
    examples = tuple(example for pair in zip(same, other, strict=True) for example in pair)
    run = RunData(PAIRS, 0, 0, examples[:10], examples[10:], (), settings, tmp_path)
    outcome = method(run)  # type: ignore[operator]
    turned = [Example({"first": row.fields["second"], "second": row.fields["first"]}) for row in examples]
    assert outcome.predict(examples) == outcome.predict(turned) == [example.label for example in examples]


@pytest.mark.parametrize("method", [tf_idf, frozen_means])
def test_candidates_of_their_own_are_refused(method: object, tmp_path: Path) -> None:
    example = Example({"before": "祝你一路"}, "0", candidates=("顺风", "自相矛盾"))
    run = RunData(IDIOMS, 0, 0, (example,), (example,), (), {"model": "wobert-mini-zh"}, tmp_path)
    with pytest.raises(ValueError, match="needs labels common to all examples; those of idioms bring candidates"):
        method(run)  # type: ignore[operator]


@pytest.mark.parametrize("method", [tf_idf, frozen_means])
def test_all_texts_of_a_task_are_read_where_settings_name_none(method: object, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    found, expected = (
        method(replace(run, settings={"model": "wobert-mini-zh", **fields})).predict(run.dev)  # type: ignore[operator]
        for fields in ({}, {"fields": ["review"]})
    )
    assert found == expected
    with pytest.raises(ValueError, match=r"fields=\['title'\] of hotels, which has review: name one or two of these"):
        method(replace(run, settings={"model": "wobert-mini-zh", "fields": ["title"]}))  # type: ignore[operator]
