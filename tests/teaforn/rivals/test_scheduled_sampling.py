"""Scheduled sampling: what a decoder reads is what it would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.teaforn import ScheduledSampling
from nlpkit.training import ScheduledStrength, linear_strength
from tests.teaforn.models import WRITERS, batch_for
from tests.teaforn.test_technique import trained


def read_by(model: Any, technique: ScheduledSampling, folder: Path, **settings: Any) -> list[dict[str, Tensor]]:
    """What the model was given in each pass of one step."""
    given: list[dict[str, Tensor]] = []
    handle = model.register_forward_pre_hook(lambda _, args, named: given.append(named), with_kwargs=True)
    trained(model, folder, [technique], loss=lambda _: _loss(model), learning_rate=1e-12, **settings)
    handle.remove()
    return given


def _loss(model: Any) -> Any:
    from nlpkit.losses import CrossEntropyLoss

    return CrossEntropyLoss(shift=not model.config.is_encoder_decoder)  # no head to be compared with: no pass more


@pytest.mark.parametrize("name", ["T5", "BART", "GPT-2"])
def test_the_second_pass_reads_the_likeliest_tokens_of_the_first(name: str, tmp_path: Path) -> None:
    model = WRITERS[name]().double()
    first, second = read_by(model, ScheduledSampling(1.0, sample=False), tmp_path)
    key = "decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"
    with torch.no_grad():
        likeliest = model(**first).logits.argmax(-1)
    labels = batch_for(model)["labels"]
    for row, own in enumerate(labels.tolist()):
        for place in range(len(own)):
            written = place > 0 and (own[place - 1] if model.config.is_encoder_decoder else own[place]) != -100
            expected = likeliest[row, place - 1] if written else first[key][row, place]
            assert second[key][row, place] == expected
    others = first.keys() - {key}
    assert all(torch.equal(first[other], second[other]) for other in others if isinstance(first[other], Tensor))


def test_about_as_many_are_replaced_as_was_said(tmp_path: Path) -> None:
    model = WRITERS["T5"]()
    model.shared.weight.data *= 0.01  # all tokens are as likely, so that few are drawn right
    changed = []
    for number in range(40):
        first, second = read_by(model, ScheduledSampling(0.5), tmp_path, seed=number)
        told = (batch_for(model)["labels"] != -100)[:, :-1]
        changed.append((first["decoder_input_ids"] != second["decoder_input_ids"])[:, 1:][told].float().mean())
    assert torch.stack(changed).mean() == pytest.approx(0.5, abs=0.08)


def test_its_probability_can_grow_and_0_is_teacher_forcing(tmp_path: Path) -> None:
    plain, _ = trained(WRITERS["T5"](), tmp_path, [], steps=2)
    off, _ = trained(WRITERS["T5"](), tmp_path, [ScheduledSampling(0.0)], steps=2)
    assert all(torch.equal(off[key], plain[key]) for key in plain)
    technique = ScheduledSampling(0.0)
    growing, _ = trained(
        WRITERS["T5"](),
        tmp_path,
        [technique, ScheduledStrength(technique, "probability", linear_strength(0.0, 2.0))],
        steps=2,
    )
    assert not all(torch.equal(growing[key], plain[key]) for key in plain)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability=1.5: give a finite number at least 0 and at most 1"):
        ScheduledSampling(1.5)
