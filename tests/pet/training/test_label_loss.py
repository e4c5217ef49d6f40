"""Weights of labels, and losses of nlpkit.losses in place of the classifier's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlpkit.losses import CrossEntropyLoss, FocalLoss
from nlpkit.pet import Example, Fitting, LabelLoss
from nlpkit.pet.training.label_loss import balanced_weights
from tests.pet.models import WORDS, labelled_examples, small_classifier


def batch_of(classifier: Any, extra: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    batch = classifier.collate([*labelled_examples(), *[Example({"text": "好"})] * extra])
    with torch.no_grad():
        return batch, classifier.scores(labelled_examples())


def test_weighted_losses_are_divided_by_the_number_of_examples(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    weights = {"good": 2.0, "bad": 0.0}
    batch, scores = batch_of(classifier, extra=2)
    labels = batch["labels"][:-2]
    objective = LabelLoss(classifier, weights)
    own = F.cross_entropy(scores, labels, reduction="none") * torch.tensor([2.0, 0.0, 1.0])[labels]
    torch.testing.assert_close(objective(**dict(batch))["loss"], own.mean(), rtol=0, atol=1e-10)
    assert objective.items(batch).tolist() == [len(labels)]
    parts = [LabelLoss(classifier, weights)(**classifier.collate(part), num_items_in_batch=torch.tensor([8]))["loss"]
             for part in (labelled_examples()[:3], labelled_examples()[3:])]  # fmt: skip
    torch.testing.assert_close(sum(parts), own.mean(), rtol=0, atol=1e-10)


def test_weights_of_one_and_another_loss_change_nothing_where_they_are_the_same(
    small_vocabulary: dict[str, int],
) -> None:
    classifier = small_classifier(small_vocabulary)
    batch, scores = batch_of(classifier, extra=1)
    plain = LabelLoss(classifier)(**dict(batch))["loss"]
    for same in (LabelLoss(classifier, dict.fromkeys(WORDS, 1.0)), LabelLoss(classifier, loss=CrossEntropyLoss())):
        torch.testing.assert_close(same(**dict(batch))["loss"], plain, rtol=0, atol=1e-10)
    focal = LabelLoss(classifier, loss=FocalLoss(gamma=2.0))(**dict(batch))["loss"]
    torch.testing.assert_close(focal, FocalLoss(gamma=2.0)(scores, batch["labels"][:-1]), rtol=0, atol=1e-10)


def test_balanced_weights_give_every_label_the_same_part() -> None:
    labels = ["a"] * 6 + ["b"] * 2 + [None]
    weights = balanced_weights(labels)
    assert {name: weights[name] * labels.count(name) for name in weights} == pytest.approx({"a": 4, "b": 4})


def test_weights_of_unknown_labels_are_refused(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    for wrong in ({"worse": 1.0}, {"good": -1.0}, {"good": float("nan")}, {"good": float("inf")}):
        with pytest.raises(ValueError, match="must give labels among 'good', 'bad', 'mixed' weights that are not neg"):
            LabelLoss(classifier, wrong)
    with pytest.raises(ValueError, match="takes every label out of the loss, so that nothing would be learnt"):
        LabelLoss(classifier, dict.fromkeys(WORDS, 0.0))
    with pytest.raises(ValueError, match="class_weight='equal' must be 'balanced', or a weight for each label"):
        Fitting(class_weight="equal")  # type: ignore[arg-type]
    nameless: Any = [2.0, 1.0, 1.0]
    for make in (lambda: Fitting(class_weight=nameless), lambda: LabelLoss(classifier, nameless)):
        with pytest.raises(TypeError, match=r"class_weight=\[2.0, 1.0, 1.0\] must be 'balanced', or a weight"):
            make()


def test_training_without_labels_is_refused(small_vocabulary: dict[str, int], tmp_path: Any) -> None:
    from nlpkit.pet import MaskedTextLoss, PetTrainer
    from tests.pet.training.test_trainer import settings

    classifier = small_classifier(small_vocabulary)
    texts = [Example({"text": "好"})] * 3
    with pytest.raises(ValueError, match="none of the 3 training examples has a label, so that LabelLoss would learn"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), texts)
    PetTrainer(MaskedTextLoss(classifier), settings(tmp_path, max_steps=1), texts).train()


def test_the_trainer_reads_tables(small_vocabulary: dict[str, int], tmp_path: Any) -> None:
    from datasets import Dataset

    from nlpkit.pet import PetTrainer
    from tests.pet.training.test_trainer import settings

    table = Dataset.from_dict({"text": ["好", "不"], "label": ["good", "bad"], "stars": [5, 1]})
    trainer = PetTrainer(LabelLoss(small_classifier(small_vocabulary)), settings(tmp_path, max_steps=1), table, table)
    assert trainer.evaluate() == trainer.evaluate(table.to_pandas())


def test_the_trainer_predicts_what_it_evaluates(small_vocabulary: dict[str, int], tmp_path: Any) -> None:
    from datasets import ClassLabel, Dataset

    from nlpkit.pet import PetTrainer
    from tests.pet.training.test_trainer import settings

    table = Dataset.from_dict({"text": ["好", "不", "很好"], "label": ["good", "bad", "good"]})
    numbered = table.cast_column("label", ClassLabel(names=["bad", "good", "mixed"]))
    classifier = small_classifier(small_vocabulary)
    trainer = PetTrainer(LabelLoss(classifier), settings(tmp_path, max_steps=1), table)
    examples = [Example({"text": row["text"]}, row["label"]) for row in table]
    for given in (table, numbered, table.to_pandas(), examples):
        found = trainer.predict(given)
        assert np.array_equal(found.predictions, classifier.scores(table).numpy())
        assert found.label_ids.tolist() == [0, 1, 0]
        evaluated = trainer.evaluate(table, metric_key_prefix="test")
        assert found.metrics == {name: evaluated[name] for name in ("test_accuracy", "test_loss")}
    unlabelled = trainer.predict(["好", "不"])
    assert (unlabelled.metrics, unlabelled.label_ids.tolist()) == ({}, [-100, -100])
    assert unlabelled.predictions.shape == (2, 3)
