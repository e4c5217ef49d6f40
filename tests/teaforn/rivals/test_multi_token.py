"""Heads for tokens further on: labels of their distance, gone when training ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss
from nlpkit.teaforn import MultiToken, TeaForN
from nlpkit.training import Technique
from tests.teaforn.models import WRITERS, batch_for
from tests.teaforn.test_technique import same, trained


@pytest.mark.parametrize("name", ["T5", "T5 untied", "BART", "Llama", "BERT"])
def test_silent_heads_say_the_next_token_of_labels_further_on(name: str, tmp_path: Path) -> None:
    """Heads begin with zeros: then their logits are the model's own, of which the loss is known."""
    model = WRITERS[name]().double()
    batch = batch_for(model)
    logits = model(**{key: value for key, value in batch.items() if key != "labels"} | _reads(model, batch)).logits
    labels = batch["labels"].tolist()
    total = torch.zeros(()).double()
    shift = 0 if model.config.is_encoder_decoder else 1
    for row, own in enumerate(labels):
        for place in range(len(own)):
            for distance, weight in enumerate((1.0, 0.5, 0.5)):
                at = place + shift + distance
                if at < len(own) and own[at] != -100:
                    total = total + weight * F.cross_entropy(logits[row, place], torch.tensor(own[at]))
    (total / (batch["labels"] != -100).sum()).backward()
    expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    step, _ = trained(model, tmp_path, [MultiToken(3, weight=0.5)])
    for key, value in expected.items():
        torch.testing.assert_close(step[key], value, rtol=0, atol=1e-12)


def _reads(model: Any, batch: Any) -> dict[str, Any]:
    if not model.config.is_encoder_decoder:
        return {}
    return {"decoder_input_ids": model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])}


def test_heads_learn_are_saved_while_training_lasts_and_go_when_it_ends(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = WRITERS["T5"]()
    names = set(model.state_dict())
    technique = MultiToken(tokens=3)
    _, trainer = trained(model, tmp_path, [technique], steps=2, save_strategy="steps", save_steps=2)
    assert set(model.state_dict()) == names
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    heads = {name for name in saved if name not in names}
    assert heads == {f"multi_token_heads.{head}.weight" for head in range(2)}
    assert all(saved[name].abs().max() > 0 for name in heads)
    held = technique._heads
    assert held is not None
    before = [head.clone() for head in held.parameters()]
    trainer.train()
    assert all(not torch.equal(old, new) for old, new in zip(before, held.parameters(), strict=True))
    assert set(model.state_dict()) == names


def test_an_interrupted_run_goes_on_with_its_heads(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 0.1}
    whole, again = WRITERS["T5"]().double(), WRITERS["T5"]().double()
    trained(whole, tmp_path / "whole", [MultiToken()], steps=4, **settings)
    half = str(tmp_path / "whole" / "checkpoint-2")
    trained(again, tmp_path / "again", [MultiToken()], steps=4, resumed=half, **settings)
    assert same(again.state_dict(), whole.state_dict())


@pytest.mark.parametrize("shift", [False, True])
def test_logits_in_chunks_and_narrow_arithmetic_are_taken(shift: bool, tmp_path: Path) -> None:
    name = "Llama" if shift else "T5"
    whole, chunked = (
        trained(WRITERS[name]().double(), tmp_path, [MultiToken(tokens=3)], loss=loss)[0]
        for loss in (
            lambda model: CrossEntropyLoss(shift=shift),
            lambda model: ChunkedCrossEntropyLoss(model, shift=shift, chunk=3),
        )
    )
    assert same(whole, chunked)
    narrow, _ = trained(WRITERS[name](), tmp_path, [MultiToken(tokens=3)], bf16=True)
    assert all(value.isfinite().all() for value in narrow.values())


def test_beside_levels_it_sees_the_states_of_the_first(tmp_path: Path) -> None:
    def change(*techniques: Technique) -> dict[str, Tensor]:
        return trained(WRITERS["T5"]().double(), tmp_path, list(techniques))[0]

    plain, levels, heads = change(), change(TeaForN(levels=3)), change(MultiToken(tokens=3))
    both = change(TeaForN(levels=3), MultiToken(tokens=3))
    for name, value in both.items():
        torch.testing.assert_close(value - plain[name], levels[name] + heads[name] - 2 * plain[name])
    with pytest.raises(ValueError, match=r"MultiToken before TeaForN would see the states of its levels: list it beh"):
        change(MultiToken(tokens=3), TeaForN(levels=3))


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokens=0: give a whole number at least 1; 1 is teacher forcing"):
        MultiToken(tokens=0)
    capped = WRITERS["Gemma 2"]()
    capped.config.final_logit_softcapping = 0.1
    with pytest.raises(ValueError, match=r"Gemma2ForCausalLM changes its logits after its output layer"):
        trained(capped, tmp_path, [MultiToken()])
    assert not hasattr(capped, "multi_token_heads")
