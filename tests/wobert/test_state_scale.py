"""Rescaled states: heads see another scale, the masked-LM head says what it said."""

from __future__ import annotations

import pytest
import torch

from nlpkit import WoBertConfig, WoBertForMaskedLM
from nlpkit.wobert.state_scale import USUAL_RMS, last_state_rms, rescale_last_states


def small_scale_model(scale: float) -> WoBertForMaskedLM:
    torch.manual_seed(0)
    model = (
        WoBertForMaskedLM(
            WoBertConfig(
                vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
            )
        )
        .double()
        .eval()
    )
    last = model.bert.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        last.weight.normal_(0, scale)
        last.bias.normal_(0, scale)
    return model


def batch(padding: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(24).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 12 - padding :] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("scale", [0.03, 0.3, 5.0])
def test_logits_stay_bit_equal_and_states_come_near_the_usual_scale(scale: float) -> None:
    model, inputs = small_scale_model(scale), batch(padding=5)
    before, rms = model(**inputs).logits, last_state_rms(model, [inputs])
    factor = rescale_last_states(model, rms)
    assert torch.equal(model(**inputs).logits, before)
    assert last_state_rms(model, [inputs]) == pytest.approx(rms * factor)
    assert 2**-0.5 <= rms * factor / USUAL_RMS <= 2**0.5


def test_a_model_at_that_scale_is_left_as_it_is() -> None:
    model = small_scale_model(1.0)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert rescale_last_states(model, 0.55) == 1.0
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_padding_is_not_measured() -> None:
    model, inputs = small_scale_model(0.1), batch(padding=6)
    first, second = ({name: value[row : row + 1] for name, value in inputs.items()} for row in (0, 1))
    second = {"input_ids": second["input_ids"][:, :6]}
    assert last_state_rms(model, [inputs]) == pytest.approx(last_state_rms(model, [first, second]), rel=1e-9)


@pytest.mark.parametrize("rms", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_none_is_refused(rms: float) -> None:
    with pytest.raises(ValueError, match="last_state_rms"):
        rescale_last_states(small_scale_model(1.0), rms)
