from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.objectives.soft_labels import SoftLabelLoss, distillation_loss, soft_examples
from nlpkit.pet.training.trainer import PetTrainer
from nlpkit.pet.training.training_rows import TrainingRow
from tests.pet.models import TEXTS, labelled_examples, small_classifier
from tests.pet.training.test_trainer import settings


def test_at_temperature_one_hard_targets_give_the_cross_entropy() -> None:
    scores, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    teacher = F.one_hot(labels, 4) * 1e4
    torch.testing.assert_close(distillation_loss(scores, teacher, 1.0), F.cross_entropy(scores, labels))


def test_at_infinite_temperature_distillation_matches_logits() -> None:
    scores, teacher = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    centred = [x - x.mean(dim=1, keepdim=True) for x in (scores, teacher)]
    matching = ((centred[0] - centred[1]) ** 2).sum() / (2 * 5 * 6)
    torch.testing.assert_close(distillation_loss(scores, teacher, 1e5), matching, rtol=1e-4, atol=0)


def test_a_student_learns_its_teachers_opinion(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    student = small_classifier(small_vocabulary)
    wanted = torch.eye(3)[torch.tensor([2, 0, 1, 1, 0, 2, 1, 0])] * 6
    examples = soft_examples([Example.of(text) for text in TEXTS], wanted, student.labels)
    arguments = settings(tmp_path, max_steps=40, per_device_train_batch_size=8)
    PetTrainer(SoftLabelLoss(student, temperature=2.0), arguments, examples).train()
    assert student.scores(TEXTS).argmax(dim=1).tolist() == wanted.argmax(dim=1).tolist()


def test_a_student_may_have_its_labels_in_another_order(small_vocabulary: dict[str, int]) -> None:
    student = small_classifier(small_vocabulary)
    scores = torch.randn(len(TEXTS), 3)
    examples = soft_examples([Example.of(text) for text in TEXTS], scores.flip(1), student.labels[::-1])
    rows = [TrainingRow(example, number) for number, example in enumerate(examples)]
    torch.testing.assert_close(SoftLabelLoss(student).collate(rows)["teacher"], scores)
    strangers = soft_examples([Example.of(TEXTS[0])], scores[:1], ["x", "y", "z"])
    with pytest.raises(ValueError, match=r"the student's labels are .*; its teacher scored \['x', 'y', 'z'\]"):
        SoftLabelLoss(student).collate([TrainingRow(strangers[0], 0)])


def test_a_student_needs_a_teachers_scores(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    objective = SoftLabelLoss(small_classifier(small_vocabulary))
    with pytest.raises(TypeError, match="has no scores of a teacher"):
        PetTrainer(objective, settings(tmp_path), labelled_examples()).train()
    with pytest.raises(ValueError, match="temperature must be above 0"):
        SoftLabelLoss(small_classifier(small_vocabulary), temperature=0)
