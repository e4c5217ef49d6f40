from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import pipeline

from nlpkit.pet import ChoiceClassifier, HeadClassifier
from nlpkit.pet.clozes.examples import Example
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier

LABELS = list(WORDS)


@pytest.fixture
def folder(small_vocabulary: dict[str, int], tmp_path: Path) -> Path:
    classifier = small_classifier(small_vocabulary)
    classifier.model.save_pretrained(tmp_path)
    classifier.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_head_gives_the_models_own_logits(folder: Path) -> None:
    classifier = HeadClassifier.from_pretrained(folder, LABELS, max_length=64).double()
    inputs = classifier.tokenizer(TEXTS[1], return_tensors="pt")
    with torch.no_grad():
        expected = classifier.model.eval()(**inputs).logits
    torch.testing.assert_close(classifier.scores([TEXTS[1]]).double(), expected, rtol=0, atol=1e-10)
    assert set(classifier.predict(TEXTS)) <= set(LABELS)


def test_a_pair_of_fields_is_read_as_a_pair(folder: Path) -> None:
    classifier = HeadClassifier.from_pretrained(folder, ["0", "1"], fields=("a", "b"), max_length=64).double()
    inputs = classifier.tokenizer("今天", "酒店", return_tensors="pt")
    with torch.no_grad():
        expected = classifier.model.eval()(**inputs).logits
    found = classifier.scores([{"a": "今天", "b": "酒店"}]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_heads_are_calibrated_too(folder: Path) -> None:
    classifier = HeadClassifier.from_pretrained(folder, LABELS, max_length=64).double().calibrate(TEXTS)
    mean = np.log(classifier.predict_proba(TEXTS)).mean(axis=0)
    np.testing.assert_allclose(mean, mean.mean(), rtol=0, atol=1e-10)
    output = classifier(**classifier.collate(labelled_examples()))
    predicted = classifier.scores(TEXTS)
    torch.testing.assert_close(output.logits.softmax(-1), predicted.softmax(-1), rtol=0, atol=1e-10)


def test_entailment_scores_every_description(folder: Path) -> None:
    hypotheses = {"good": "我们满意", "bad": "我们不满意"}
    classifier = ChoiceClassifier.from_pretrained(folder, "{text}", hypotheses, max_length=64).double()
    found = classifier.scores(TEXTS).double()
    for text, row in zip(TEXTS, found, strict=True):
        for score, hypothesis in zip(row, hypotheses.values(), strict=True):
            inputs = classifier.tokenizer(text, hypothesis, return_tensors="pt")
            with torch.no_grad():
                torch.testing.assert_close(score, classifier.model.eval()(**inputs).logits[0, 0], rtol=0, atol=1e-10)


def test_entailment_losses_are_binary_or_among_the_choices(folder: Path) -> None:
    examples = [example for example in labelled_examples() if example.label != "mixed"]
    hypotheses = {"good": "我们满意", "bad": "我们不满意"}
    labels = torch.tensor([list(hypotheses).index(str(example.label)) for example in examples])
    for kind in ("binary", "softmax"):
        classifier = ChoiceClassifier.from_pretrained(folder, "{text}", hypotheses, loss=kind, max_length=64)
        classifier.double().eval()
        output = classifier(**classifier.collate(examples))
        if kind == "softmax":
            expected = F.cross_entropy(output.logits, labels)
        else:
            wanted = F.one_hot(labels, 2).double()
            expected = F.binary_cross_entropy_with_logits(output.logits, wanted, reduction="sum") / len(examples)
        torch.testing.assert_close(output.loss, expected)


def test_multiple_choice_takes_candidates_of_each_example(folder: Path) -> None:
    classifier = ChoiceClassifier.from_pretrained(
        folder, "{text}{candidate}", None, loss="softmax", max_length=64
    ).double()
    three = Example({"text": "今天"}, "2", ("很", "不错", "满意"))
    two = Example({"text": "酒店"}, "0", ("好", "不"))
    together = classifier.predict_proba([three, two])
    assert together[1, 2] == 0
    np.testing.assert_allclose(together[1, :2], classifier.predict_proba([two])[0], rtol=0, atol=1e-10)
    loss = classifier.eval()(**classifier.collate([three, two])).loss
    assert loss.item() == pytest.approx(-(np.log(together[0, 2]) + np.log(together[1, 0])) / 2, rel=1e-9)
    assert classifier.fields == ("text",)


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    model = HeadClassifier.from_pretrained(folder, LABELS)
    with pytest.raises(ValueError, match="the model has 3 outputs, but there are 2 labels"):
        HeadClassifier(model.model, model.tokenizer, ["a", "b"])
    with pytest.raises(ValueError, match="one text or a pair"):
        HeadClassifier(model.model, model.tokenizer, LABELS, fields=("a", "b", "c"))
    with pytest.raises(ValueError, match="a pair gets one score, but the model has 3 outputs"):
        ChoiceClassifier(model.model, model.tokenizer, "{text}", {"a": "x", "b": "y"})
    with pytest.raises(ValueError, match="loss='hinge' is unknown"):
        ChoiceClassifier.from_pretrained(folder, "{text}", {"a": "x", "b": "y"}, loss="hinge")


def test_candidates_and_hypotheses_exclude_each_other(folder: Path) -> None:
    for premise, hypothesis in (("{candidate}。{text}", "满意"), ("{text}", "{candidate}")):
        with pytest.raises(ValueError, match=r"\{candidate\} stands for what each example brings; leave it out"):
            ChoiceClassifier.from_pretrained(folder, premise, {"a": hypothesis, "b": "不"})


@pytest.mark.parametrize("has_settings", [True, False])
def test_a_heads_labels_keep_their_order_and_have_names(folder: Path, tmp_path: Path, has_settings: bool) -> None:
    made = HeadClassifier.from_pretrained(folder, ["x", "y"])
    made.model.config.id2label, made.model.config.label2id = {0: "LABEL_0", 1: "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}
    named = HeadClassifier(made.model, made.tokenizer, ["b", "g"])  # of a model made elsewhere, without names
    named.save_pretrained(tmp_path / "saved")
    if not has_settings:
        (tmp_path / "saved" / "pet.json").unlink()
    answers = pipeline("text-classification", model=str(tmp_path / "saved"))(TEXTS)
    assert [answer["label"] for answer in answers] == named.predict(TEXTS)
    with pytest.raises(ValueError, match=r"has a head for the labels \['b', 'g'\], in this order; got \['g', 'b'\]"):
        HeadClassifier.from_pretrained(tmp_path / "saved", ["g", "b"])
    assert HeadClassifier.from_pretrained(tmp_path / "saved", ["b", "g"]).predict(TEXTS) == named.predict(TEXTS)


@pytest.mark.parametrize("labels", [2, "good"])
def test_labels_are_a_list(labels: Any, folder: Path) -> None:
    with pytest.raises(TypeError, match=f"labels={labels!r} must be a list of all labels there are"):
        HeadClassifier.from_pretrained(folder, labels)
    with pytest.raises(TypeError, match=r"hypotheses=\['很'\] must map labels to texts"):
        ChoiceClassifier.from_pretrained(folder, "{text}", ["很"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"hypotheses=\{\} names no label"):
        ChoiceClassifier.from_pretrained(folder, "{text}", {})
    for nothing in ([], np.array([])):
        with pytest.raises(
            ValueError, match=r"labels=.* must name all labels there are, e.g. labels=\['good', 'bad'\]"
        ):
            HeadClassifier.from_pretrained(folder, nothing)  # type: ignore[arg-type]
    assert HeadClassifier.from_pretrained(folder, np.array(["a", "b"])).labels == ("a", "b")  # type: ignore[arg-type]


def test_a_head_of_other_outputs_is_refused_unless_a_new_one_is_asked_for(folder: Path, tmp_path: Path) -> None:
    HeadClassifier.from_pretrained(folder, ["a", "b"]).save_pretrained(tmp_path / "saved")
    other = ["x", "y", "z"]
    with pytest.raises(ValueError, match=r"has a head already, for another number of outputs than 3: .* is \(2,"):
        HeadClassifier.from_pretrained(tmp_path / "saved", other)
    made = HeadClassifier.from_pretrained(tmp_path / "saved", other, ignore_mismatched_sizes=True)
    assert made.predict_proba(TEXTS).shape == (len(TEXTS), 3)
    (tmp_path / "saved" / "pet.json").unlink()
    with pytest.raises(ValueError, match="has a head already, for another number of outputs than 1"):
        ChoiceClassifier.from_pretrained(tmp_path / "saved", "{text}", {"a": "很", "b": "不"})
