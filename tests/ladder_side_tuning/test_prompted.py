"""A prompted classifier with a ladder beside its masked LM: trained by PetTrainer, the backbone untouched."""

from __future__ import annotations

from pathlib import Path

import torch

from nlpkit import PetClassifier, PetTrainer, PetTrainingArguments, model_path
from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
from nlpkit.pet import Example, LabelLoss, PetLoss, TrainingRows

REVIEWS = [Example({"text": "房间干净"}, "good"), Example({"text": "质量太差"}, "bad")]


def laddered() -> PetClassifier:
    classifier = PetClassifier.from_pretrained(
        model_path("wobert-mini-zh"), "{text}总之很{mask}。", {"good": "差", "bad": "好"}
    )  # the wrong way round, so that there is something to learn
    torch.manual_seed(0)
    classifier.model = get_ladder_model(classifier.model, LadderConfig(reduction=8, init="magnitude"))
    return classifier


def test_the_trainer_of_prompts_trains_the_side_network_alone(tmp_path: Path) -> None:
    classifier = laddered()
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    trained = {name for name, value in classifier.model.named_parameters() if value.requires_grad}
    assert classifier.predict(REVIEWS) != ["good", "bad"]
    arguments = PetTrainingArguments(
        output_dir=str(tmp_path), max_steps=15, learning_rate=5e-3, disable_tqdm=True, report_to="none"
    )
    PetTrainer(LabelLoss(classifier), arguments, REVIEWS * 4).train()
    changed = {name for name, value in classifier.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert changed <= trained
    assert classifier.predict(REVIEWS) == ["good", "bad"]


def test_no_gradient_reaches_the_backbone_through_a_prompt() -> None:
    objective = PetLoss(laddered(), alpha=0.5)
    rows = TrainingRows(REVIEWS, 2, [example.without_label() for example in REVIEWS], 1, seed=0)
    batch = objective.collate([rows[0], rows[1]])
    objective.terms(batch, objective.items(batch)).sum().backward()
    for name, parameter in objective.classifier.model.named_parameters():
        assert parameter.requires_grad or parameter.grad is None, name
    assert any(parameter.grad is not None for parameter in objective.classifier.model.parameters())
