"""Generation: the ladder's own places in the key-value cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from tests.ladder_side_tuning.small_models import DECODERS, SEQ2SEQ, set_gates, small_batch, small_model

generators = pytest.mark.parametrize("name", [*DECODERS, *SEQ2SEQ])
STYLES: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 5},
    "beams": {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
}
styles = pytest.mark.parametrize("style", STYLES)


def generate(model: Any, style: str, **settings: Any) -> Tensor:
    batch = {
        name: value[:, :5] for name, value in small_batch(model).items() if name in ("input_ids", "attention_mask")
    }
    torch.manual_seed(4)
    found: Tensor = model.generate(
        **batch, **STYLES[style], max_new_tokens=6, min_new_tokens=6, pad_token_id=0, **settings
    )
    return found


def narrow(name: str, **settings: Any) -> Any:
    torch.manual_seed(1)
    config = LadderConfig(**{"reduction": 2, "init": "random", "layers": 2, **settings})
    ladder = get_ladder_model(small_model(name), config).eval()
    for key, parameter in ladder.named_parameters():
        if key.endswith("side.up.weight"):
            parameter.data.mul_(5)  # so that other tokens win at other places
    return ladder


@generators
@styles
def test_generation_with_a_cache_equals_generation_without(name: str, style: str) -> None:
    ladder = narrow(name)
    found = generate(ladder, style, use_cache=True)
    assert torch.equal(found, generate(ladder, style, use_cache=False))
    assert len(found.unique()) > 3


@generators
@styles
def test_the_backbone_beside_itself_generates_what_it_does(name: str, style: str) -> None:
    model = small_model(name)
    expected = generate(model, style)
    ladder = get_ladder_model(model, LadderConfig(reduction=1)).eval()
    set_gates(ladder, torch.inf)
    assert torch.equal(generate(ladder, style), expected)


@pytest.mark.parametrize("name", DECODERS)
def test_step_by_step_logits_are_those_of_one_pass(name: str) -> None:
    ladder = narrow(name).double()
    ids = torch.randint(5, 40, (2, 6), generator=torch.Generator().manual_seed(0))
    whole = ladder(ids).logits
    cache = DynamicCache()  # made without a configuration, it grows by itself
    parts = [ladder(ids[:, place : place + 1], past_key_values=cache, use_cache=True).logits for place in range(6)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-10)
    assert len(cache.layers) == 4 + 2


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_cache_filled_by_the_backbone_alone_is_refused(name: str) -> None:
    model = small_model(name)
    cache = model(torch.tensor([[5, 6, 7]]), use_cache=True).past_key_values
    with pytest.raises(ValueError, match="past_key_values was filled without this ladder; start from an empty cache"):
        narrow(name)(torch.tensor([[8]]), past_key_values=cache, use_cache=True)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_static_cache_serves_too(name: str) -> None:
    ladder = narrow(name)
    assert torch.equal(
        generate(ladder, "greedy", cache_implementation="static", disable_compile=True), generate(ladder, "greedy")
    )


def test_the_states_of_another_encoder_are_refused() -> None:
    model = small_model("t5")
    batch = small_batch(model)
    outputs = model.encoder(input_ids=batch["input_ids"])
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    with pytest.raises(ValueError, match="states of an encoder without this ladder; use the ladder's own"):
        ladder(encoder_outputs=outputs, decoder_input_ids=batch["decoder_input_ids"])
    ladder(encoder_outputs=ladder.encoder(input_ids=batch["input_ids"]), decoder_input_ids=batch["decoder_input_ids"])
