from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from nlpkit.pet import Fitting
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.objectives.adapet import AdapetLoss
from nlpkit.pet.objectives.full_vocabulary import FullVocabularyLoss
from nlpkit.pet.objectives.pet_loss import PetLoss
from nlpkit.pet.training.label_loss import LabelLoss
from nlpkit.pet.training.training_rows import TrainingRow, TrainingRows
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier

UNLABELLED = [Example.of(text) for text in TEXTS]


def rows(unlabelled_per_row: int = 1) -> list[TrainingRow]:
    made = TrainingRows(labelled_examples(), 8, UNLABELLED, unlabelled_per_row, seed=3)
    return [made[number] for number in range(8)]


def test_the_label_loss_is_the_cross_entropy_of_the_scores(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    objective = LabelLoss(classifier)
    loss = objective(**objective.collate(rows()))["loss"]
    examples = [row.example for row in rows()]
    labels = torch.tensor([list(WORDS).index(str(example.label)) for example in examples])
    torch.testing.assert_close(loss, F.cross_entropy(classifier.scores(examples), labels))


def test_at_alpha_one_there_is_no_masked_lm_term(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    pet, label = PetLoss(classifier, alpha=1.0), LabelLoss(classifier)
    batch = pet.collate(rows(0))
    assert not [name for name in batch if name.startswith("mlm_")]
    assert torch.equal(pet(**batch)["loss"], label(**label.collate(rows(0)))["loss"])


def test_pet_weighs_labels_and_masked_tokens(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    objective = PetLoss(classifier, alpha=0.75, mask_probability=0.4)
    batch = objective.collate(rows())
    logits = classifier.model(input_ids=batch["mlm_input_ids"], attention_mask=batch["mlm_attention_mask"]).logits
    masked_lm = F.cross_entropy(logits.flatten(end_dim=1), batch["mlm_labels"].flatten())
    label = LabelLoss(classifier)
    expected = 0.75 * label(**label.collate(rows()))["loss"] + 0.25 * masked_lm
    torch.testing.assert_close(objective(**batch)["loss"], expected)
    slots = (batch["mlm_input_ids"] == 4) & (batch["mlm_labels"] == -100)
    assert slots.sum() == len(UNLABELLED)  # each unlabelled text stands in the pattern, its label unasked


def test_the_blogs_variant_is_the_plain_masked_lm_loss_at_slots_and_masks(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    objective = FullVocabularyLoss(classifier, mask_probability=0.3)
    batch = objective.collate(rows())
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    logits = classifier.model(**inputs).logits
    expected = F.cross_entropy(logits.flatten(end_dim=1), batch["labels"].flatten())
    torch.testing.assert_close(objective(**batch)["loss"], expected)
    assert len(batch["labels"]) == 8 + len(UNLABELLED)


def test_without_random_masks_only_the_label_slots_are_asked(small_vocabulary: dict[str, int]) -> None:
    classifier = small_classifier(small_vocabulary)
    batch = FullVocabularyLoss(classifier, mask_probability=0).collate(rows(0))
    first = {label: words if isinstance(words, str) else words[0] for label, words in WORDS.items()}
    expected = [small_vocabulary[first[str(row.example.label)]] for row in rows(0)]
    assert batch["labels"][batch["labels"] != -100].tolist() == expected
    assert (batch["input_ids"][batch["labels"] != -100] == 4).all()


@pytest.mark.parametrize("kind", [LabelLoss, PetLoss, FullVocabularyLoss])
def test_padding_a_batch_further_changes_no_loss(small_vocabulary: dict[str, int], kind: type) -> None:
    objective = kind(small_classifier(small_vocabulary).double())
    batch = objective.collate(rows())
    wider = {
        name: F.pad(tensor, (0, 7), value=-100 if name.endswith("labels") else 0)
        if tensor.dim() == 2 and name not in ("slots", "variants", "groups")
        else tensor
        for name, tensor in batch.items()
    }
    torch.testing.assert_close(objective(**wider)["loss"], objective(**batch)["loss"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [LabelLoss, PetLoss, FullVocabularyLoss])
def test_micro_batches_add_up_to_the_whole(small_vocabulary: dict[str, int], kind: type) -> None:
    objective = kind(small_classifier(small_vocabulary).double())
    whole = objective(**objective.collate(rows()))["loss"]
    parts = [objective.collate(rows()[place : place + 3]) for place in (0, 3, 6)]
    items = torch.stack([objective.items(part) for part in parts]).sum(dim=0)
    total = sum(objective(**part, num_items_in_batch=items)["loss"] for part in parts)
    torch.testing.assert_close(total, whole, rtol=0, atol=1e-10)


def test_masks_are_functions_of_the_rows_numbers(small_vocabulary: dict[str, int]) -> None:
    objective = FullVocabularyLoss(small_classifier(small_vocabulary), mask_probability=0.3)
    whole, alone = objective.collate(rows()), objective.collate(rows()[2:3])
    length = int(alone["attention_mask"][0].sum())
    assert whole["input_ids"][2, :length].tolist() == alone["input_ids"][0, :length].tolist()


@pytest.mark.parametrize("alpha", [0, -1, 1.5])
def test_alpha_is_a_share(small_vocabulary: dict[str, int], alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1"):
        PetLoss(small_classifier(small_vocabulary), alpha=alpha)


def test_a_masked_lm_term_needs_text(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="alpha below 1 needs unlabelled texts"):
        PetLoss(small_classifier(small_vocabulary)).collate(rows(0))


@pytest.mark.parametrize("kind", [LabelLoss, PetLoss, FullVocabularyLoss, AdapetLoss])
@pytest.mark.parametrize("unknown", [2, 8])
def test_labels_that_are_not_known_teach_nothing_and_stop_nothing(
    kind: type, unknown: int, small_vocabulary: dict[str, int]
) -> None:
    examples = [replace(one, label=None) if place < unknown else one for place, one in enumerate(labelled_examples())]
    classifier = small_classifier(small_vocabulary, fitting=Fitting(max_steps=2)).float()
    if unknown < len(examples):
        classifier.fit(examples, objective=kind, unlabelled=TEXTS)
    objective = kind(classifier)
    batch = objective.collate([TrainingRow(one, place, (UNLABELLED[0],)) for place, one in enumerate(examples)])
    assert torch.isfinite(objective(**batch)["loss"])
