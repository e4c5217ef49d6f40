"""A wrapped objective answers as it does alone, whichever it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nlpkit.pet import (
    AdapetLoss,
    Example,
    FullVocabularyLoss,
    LabelLoss,
    MaskedTextLoss,
    Objective,
    ObjectiveWrapper,
    PetClassifier,
    PetLoss,
    PTuningLoss,
    SoftLabelLoss,
    TrainingRow,
    TrainingRows,
    soft_examples,
)
from tests.pet.models import TEXTS, labelled_examples
from tests.pet.objectives.test_soft_prompt import soft_classifier

OBJECTIVES: dict[str, Callable[[PetClassifier], Objective[PetClassifier]]] = {
    "label": LabelLoss,
    "pet": lambda classifier: PetLoss(classifier, alpha=0.5),
    "pet without texts": lambda classifier: PetLoss(classifier, alpha=1.0),
    "blog": FullVocabularyLoss,
    "masked text": MaskedTextLoss,
    "adapet": AdapetLoss,
    "soft labels": SoftLabelLoss,
}


def rows(objective: Objective[PetClassifier]) -> list[TrainingRow]:
    examples = labelled_examples()
    if isinstance(objective, SoftLabelLoss):
        scores = torch.arange(3.0 * len(examples)).view(-1, 3)
        examples = list(soft_examples(examples, scores, objective.classifier.labels))
    made = TrainingRows(examples, 8, [Example.of(text) for text in TEXTS], int(objective.uses_unlabelled), seed=3)
    return [made[number] for number in range(8)]


@pytest.mark.parametrize("wrap", [lambda inner: PTuningLoss(inner, "all"), ObjectiveWrapper])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_wrapped_objective_answers_as_it_does_alone(
    small_vocabulary: dict[str, int],
    name: str,
    wrap: Callable[[Objective[PetClassifier]], ObjectiveWrapper[PetClassifier]],
) -> None:
    alone = OBJECTIVES[name](soft_classifier(small_vocabulary))
    wrapped = wrap(OBJECTIVES[name](soft_classifier(small_vocabulary)))
    assert wrapped.uses_unlabelled == alone.uses_unlabelled
    batch, same = alone.collate(rows(alone)), wrapped.collate(rows(alone))
    assert batch.keys() == same.keys() and all(torch.equal(batch[key], same[key]) for key in batch)
    assert torch.equal(wrapped.items(same), alone.items(batch))
    items = 3 * alone.items(batch)
    expected = alone(**batch, num_items_in_batch=items)["loss"]
    torch.testing.assert_close(wrapped(**same, num_items_in_batch=items)["loss"], expected, rtol=0, atol=1e-12)


def test_a_wrapper_forwards_whatever_the_interface_holds(small_vocabulary: dict[str, int]) -> None:
    class Ending(LabelLoss[PetClassifier]):
        accepts_loss_kwargs = False
        ended = 0

        def finish(self) -> PetClassifier:
            self.ended += 1
            return super().finish()

    inner = Ending(soft_classifier(small_vocabulary))
    wrapped = PTuningLoss(ObjectiveWrapper(inner))
    assert wrapped.accepts_loss_kwargs is False
    assert wrapped.finish() is inner.classifier
    assert inner.ended == 1
    public = {name for name in vars(Objective) if not name.startswith("_")}
    assert public and public <= set(vars(ObjectiveWrapper))
