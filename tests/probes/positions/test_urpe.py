"""URPE: nothing changes at first, everything can be learned, and what it does not reach is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForTokenClassification, GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel

from nlpkit.probes import DistanceWeights, add_urpe, load_urpe, position_identifiability
from tests.probes.positions.small_models import small_model

REACHED = {"bert": 2, "roberta": 2, "albert": 1, "electra": 2, "bart": 4, "t5": 4, "gpt2": 2, "llama": 2, "qwen2": 2,
           "modernbert": 2, "gpt_neox": 2}  # fmt: skip


SIZES: dict[str, Any] = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32
}  # fmt: skip


def inputs_of(model: PreTrainedModel) -> dict[str, Tensor]:
    ids = torch.arange(5, 17).view(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}),
    }


def weights_of(model: nn.Module) -> list[nn.Parameter]:
    return [module.weight for module in model.modules() if isinstance(module, DistanceWeights)]


@pytest.mark.parametrize("name", REACHED)
def test_at_first_it_is_the_model_bit_for_bit_and_gradients_reach_it(name: str) -> None:
    model = small_model(name, scale=2.0)
    model.set_attn_implementation("eager")
    before = model(**inputs_of(model)).last_hidden_state
    assert len(add_urpe(model, max_distance=3)) == REACHED[name] == len(weights_of(model))
    after = model(**inputs_of(model)).last_hidden_state
    assert torch.equal(after, before)
    after.square().sum().backward() if name not in ("bert",) else (after * torch.randn_like(after)).sum().backward()
    for weight in weights_of(model):
        assert weight.grad is not None and weight.grad.any(dim=1).all()  # every head's
    with torch.no_grad():
        for weight in weights_of(model):
            weight.mul_(torch.rand_like(weight) + 0.5)
    assert not torch.allclose(model(**inputs_of(model)).last_hidden_state, before, atol=1e-3)


def test_weights_are_multiplied_after_the_softmax_by_distance() -> None:
    """Against an attention written out with loops."""
    torch.manual_seed(0)
    model = small_model("bert").double()
    attention = model.get_submodule("encoder.layer.0.attention.self")
    add_urpe(model, max_distance=2)
    weight = attention.get_submodule("urpe").weight
    assert isinstance(weight, nn.Parameter) and isinstance(attention, nn.Module)
    nn.init.uniform_(weight, 0.5, 1.5)
    states = torch.randn(1, 5, 32, dtype=torch.float64)
    found = attention(states)[0]
    query, key, value = (getattr(attention, name)(states)[0].view(5, 2, 16) for name in ("query", "key", "value"))
    expected = torch.zeros(5, 2, 16, dtype=torch.float64)
    for head in range(2):
        for i in range(5):
            scores = torch.stack([query[i, head] @ key[j, head] / 4 for j in range(5)]).softmax(0)
            for j in range(5):
                number = weight[head, max(-2, min(2, j - i)) + 2]
                expected[i, head] += scores[j] * number * value[j, head]
    torch.testing.assert_close(found[0], expected.flatten(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_with_it_models_count_that_could_not(name: str) -> None:
    model = small_model(name)
    stack = "encoder" if name == "t5" else "model"
    assert not position_identifiability(model, texts=16).case("none", stack).counts
    add_urpe(model, max_distance=32)
    assert not position_identifiability(model, texts=16).case("none", stack).counts  # all are 1 still
    for weight in weights_of(model):
        nn.init.uniform_(weight, 0.5, 1.5)
    assert position_identifiability(model, texts=16).case("none", stack).verdict == "yes"


def trained(urpe: bool, seed: int) -> float:
    """Accuracy at naming the position of equal tokens, after training on nothing else."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    model = BertForTokenClassification(BertConfig(vocab_size=9, num_labels=8, hidden_dropout_prob=0.0,
                                                  attention_probs_dropout_prob=0.0, **sizes))  # fmt: skip
    nn.init.zeros_(model.bert.embeddings.position_embeddings.weight).requires_grad_(False)
    if urpe:
        add_urpe(model, max_distance=8)
    ids, labels = torch.full((1, 8), 5), torch.arange(8)[None]
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.005)
    for _ in range(400):
        found = model(input_ids=ids, labels=labels)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    return (found.logits.argmax(-1) == labels).double().mean().item()


@pytest.mark.parametrize("seed", range(3))
def test_training_finds_positions_with_it_and_cannot_without(seed: int) -> None:
    assert trained(urpe=True, seed=seed) == 1.0
    assert trained(urpe=False, seed=seed) == pytest.approx(1 / 8)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_generation_with_a_cache_is_that_without(name: str) -> None:
    bare = small_model(name)
    torch.manual_seed(0)
    cls = GPT2LMHeadModel if name == "gpt2" else LlamaForCausalLM
    model = cls(bare.config).eval()
    add_urpe(model, max_distance=4)
    for weight in weights_of(model):
        nn.init.uniform_(weight, 0.0, 3.0)
    ids = torch.arange(5, 15).view(2, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    settings = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False, "output_logits": True,
                "return_dict_in_generate": True, "eos_token_id": None}  # fmt: skip
    cached, fresh = (model.generate(ids, use_cache=use, **settings) for use in (True, False))
    torch.testing.assert_close(torch.stack(cached.logits), torch.stack(fresh.logits), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="which a static cache keeps free: use a dynamic cache"):
        model.generate(ids, cache_implementation="static", **settings)


def test_it_is_saved_and_read_back_with_or_without_a_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    model = BertForTokenClassification(BertConfig(vocab_size=30, **sizes)).eval()
    add_urpe(model, max_distance=5)
    for weight in weights_of(model):
        nn.init.uniform_(weight, 0.5, 1.5)
    model.save_pretrained(tmp_path)
    again = BertForTokenClassification.from_pretrained(tmp_path)
    assert load_urpe(again, tmp_path) == [f"bert.encoder.layer.{n}.attention.self" for n in range(2)]
    assert torch.equal(again(**inputs_of(model)).logits, model(**inputs_of(model)).logits)
    bare = type(model.bert).from_pretrained(tmp_path)
    load_urpe(bare, tmp_path)
    torch.testing.assert_close(
        bare(**inputs_of(model)).last_hidden_state, model.bert(**inputs_of(model)).last_hidden_state
    )
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(**inputs_of(model)).logits, model(**inputs_of(model)).logits)


@pytest.mark.parametrize("name", ["roformer", "deberta-v2", "xlnet", "bloom"])
def test_models_that_multiply_in_their_own_code_are_refused(name: str) -> None:
    model = small_model(name)
    before, implementation = model(**inputs_of(model)).last_hidden_state, model.config._attn_implementation
    with pytest.raises(ValueError, match=rf"{type(model).__name__} multiplies attention weights and values in code"):
        add_urpe(model)
    assert model.config._attn_implementation == implementation and not weights_of(model)
    assert torch.equal(model(**inputs_of(model)).last_hidden_state, before)


def test_attention_that_would_leave_it_out_is_an_error(tmp_path: Path) -> None:
    model = small_model("bert")
    add_urpe(model)
    model.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match="attn_implementation='sdpa' leaves out the weights of distances: set 'urpe'"):
        model(**inputs_of(model))
    with pytest.raises(ValueError, match="this BertModel has weights of distances already"):
        add_urpe(model)
    with pytest.raises(ValueError, match="max_distance=0: give a whole number at least 1"):
        add_urpe(small_model("bert"), max_distance=0)
    with pytest.raises(FileNotFoundError, match="has no safetensors files"):
        load_urpe(small_model("bert"), tmp_path)
    small_model("bert").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="was its model given add_urpe"):
        load_urpe(small_model("bert"), tmp_path)


def test_layers_of_another_number_are_refused(tmp_path: Path) -> None:
    model = small_model("bert")
    add_urpe(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has weights of distances for 2 layers, others than the 1 here"):
        load_urpe(albert := small_model("albert"), tmp_path)
    assert not weights_of(albert)
