from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.objectives.soft_prompt import PTuningLoss, add_soft_tokens
from nlpkit.pet.training.label_loss import LabelLoss
from nlpkit.pet.training.trainer import PetTrainer, PetTrainingArguments
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier, small_model


def soft_classifier(vocabulary: dict[str, int]) -> PetClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    model = small_model(len(tokenizer))
    ids = add_soft_tokens(model, tokenizer, 3)
    return PetClassifier(model, tokenizer, "{soft:2}{mask}{soft}{text}", WORDS, soft_token_ids=ids)


def train(objective: PTuningLoss, folder: Path) -> None:
    arguments = PetTrainingArguments(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=0.05,
        bf16=False,
        use_cpu=True,
    )
    PetTrainer(objective, arguments, labelled_examples()).train()


def test_soft_tokens_are_new_ordinary_tokens(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    model = small_model(len(tokenizer))
    before = model.get_input_embeddings().weight.clone()
    ids = add_soft_tokens(model, tokenizer, 3)
    after = model.get_input_embeddings().weight
    assert ids == list(range(len(before), len(before) + 3))
    assert torch.equal(after[: len(before)], before)
    assert all((before == row).all(dim=1).any() for row in after[len(before) :])
    assert model.get_output_embeddings().weight.shape == after.shape
    assert (model(input_ids=torch.tensor([[2, ids[0], 4]])).logits[..., ids] < -1e3).all()


@pytest.mark.parametrize("reparameterize", [False, True])
def test_only_the_prompt_is_trained_and_it_lands_in_the_embeddings(
    small_vocabulary: dict[str, int], tmp_path: Path, reparameterize: bool
) -> None:
    classifier = soft_classifier(small_vocabulary)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    train(PTuningLoss(LabelLoss(classifier), reparameterize=reparameterize), tmp_path / "run")
    ids = classifier.collator.encoder.soft_token_ids
    for name, tensor in classifier.state_dict().items():
        rows = torch.ones(len(tensor), dtype=torch.bool)
        if tensor.shape == before["model.bert.embeddings.word_embeddings.weight"].shape:
            rows[ids] = False
            assert not torch.equal(tensor[ids], before[name][ids])
        assert torch.equal(tensor[rows], before[name][rows]), name
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_the_trained_prompt_needs_no_code_of_its_own(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = soft_classifier(small_vocabulary)
    objective = PTuningLoss(LabelLoss(classifier), reparameterize=True)
    torch.manual_seed(0)
    torch.nn.init.normal_(objective.prompt.mlp[2].weight)
    with_machinery = classifier.predict_proba(TEXTS)
    objective.finish()
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), with_machinery, rtol=0, atol=1e-10)
    classifier.float().save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        PetClassifier.from_pretrained(tmp_path).predict_proba(TEXTS), classifier.predict_proba(TEXTS)
    )
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.vocab_size == len(tokenizer) == len(small_vocabulary) + 3


def test_training_begins_at_the_pretrained_embeddings(small_vocabulary: dict[str, int]) -> None:
    classifier = soft_classifier(small_vocabulary)
    before = classifier.predict_proba(TEXTS)
    PTuningLoss(LabelLoss(classifier), reparameterize=True)
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), before, rtol=0, atol=1e-10)


def test_all_of_the_model_may_be_trained(small_vocabulary: dict[str, int]) -> None:
    objective = PTuningLoss(LabelLoss(soft_classifier(small_vocabulary)), train="all")
    assert all(parameter.requires_grad for parameter in objective.parameters())


def test_there_must_be_something_to_train(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="has no soft tokens to train"):
        PTuningLoss(LabelLoss(small_classifier(small_vocabulary)))
    with pytest.raises(ValueError, match="train='some' is unknown"):
        PTuningLoss(LabelLoss(soft_classifier(small_vocabulary)), train="some")  # type: ignore[arg-type]
