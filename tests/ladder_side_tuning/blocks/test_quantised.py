"""Ladders beside backbones in 8 and 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, tune_from
from nlpkit.ladder_side_tuning.blocks.dense_weights import (
    comparable_parameters,
    dense_parameters,
    is_quantised,
    make_dense,
)
from tests.ladder_side_tuning.small_models import set_gates

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra 'quantise'")

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
BITS = {"8 bits": {"load_in_8bit": True}, "4 bits": {"load_in_4bit": True}}
HEADS: dict[str, Any] = {"texts": AutoModelForSequenceClassification, "causal LM": AutoModelForCausalLM}
IDS = torch.tensor([[5, 6, 7, 8]])
every_kind = pytest.mark.parametrize("bits", BITS)
every_head = pytest.mark.parametrize("head", HEADS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("quantised")
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(**SIZES, num_labels=3)).save_pretrained(found / "texts")
    LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)).save_pretrained(found / "causal LM")
    return found


def load(folder: Path, head: str, bits: str) -> Any:
    settings = BitsAndBytesConfig(**BITS[bits])
    model = HEADS[head].from_pretrained(folder / head, quantization_config=settings, dtype=torch.float32)
    assert any(is_quantised(module) for module in model.modules())
    return model


def labels(head: str) -> torch.Tensor:
    return torch.tensor([1]) if head == "texts" else IDS


@every_kind
@every_head
def test_a_ladder_stands_beside_a_quantised_backbone(head: str, bits: str, folder: Path, tmp_path: Path) -> None:
    model = load(folder, head, bits)
    expected = model(IDS).logits
    itself = get_ladder_model(model, LadderConfig(reduction=1))
    set_gates(itself, torch.inf)
    torch.testing.assert_close(itself(IDS).logits, expected, rtol=0, atol=0.02)  # of the same weights, not in 8 bits
    ladder = get_ladder_model(model, LadderConfig(reduction=2)).train()
    ladder(IDS, labels=labels(head)).loss.backward()
    for name, parameter in ladder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not any(is_quantised(module) for part in ladder.ladder_modules().values() for module in part.modules())
    ladder.eval().save_pretrained(tmp_path / "ladder")
    answered = ladder(IDS).logits
    for found in (
        LadderModel.from_pretrained(tmp_path / "ladder"),
        LadderModel.from_pretrained(load(folder, head, bits), tmp_path / "ladder"),
        HEADS[head].from_pretrained(tmp_path / "ladder"),
    ):
        assert torch.equal(found(IDS).logits, answered)
    plain = HEADS[head].from_pretrained(folder / head)
    with pytest.raises(ValueError, match="trained beside other weights"):
        LadderModel.from_pretrained(plain, tmp_path / "ladder")
    rows = [{"input_ids": IDS[0]}]
    cache = ladder.cache_taps(rows, tmp_path / "taps", lambda _: {"input_ids": IDS}, dtype="float32")
    ladder.use_tap_cache(cache)
    torch.testing.assert_close(ladder(IDS).logits, answered, rtol=0, atol=1e-5)


@every_kind
@every_head
@pytest.mark.parametrize("ran", [False, True])
def test_a_fresh_ladder_is_known_again_by_name(head: str, bits: str, ran: bool, folder: Path, tmp_path: Path) -> None:
    """Whether or not a pass, by which layers are rearranged, came before the ladder was built."""
    model = load(folder, head, bits)
    if ran:
        model(IDS)
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    ladder.save_pretrained(tmp_path)
    assert torch.equal(HEADS[head].from_pretrained(tmp_path)(IDS).logits, ladder(IDS).logits)


@every_kind
@every_head
def test_upper_layers_above_quantised_ones_are_trained_as_ordinary_ones(
    head: str, bits: str, folder: Path, tmp_path: Path
) -> None:
    model = load(folder, head, bits)
    tuned = tune_from(model, 2)
    torch.testing.assert_close(tuned(IDS).logits, model(IDS).logits, rtol=0, atol=0.02)
    tuned.train()(IDS, labels=labels(head)).loss.backward()
    upper = tuned.stacks[0].blocks(tuned)[2]
    assert all(parameter.grad is not None and parameter.dtype == torch.float32 for parameter in upper.parameters())
    tuned.eval().save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    assert torch.equal(LadderModel.from_pretrained(tmp_path)(IDS).logits, tuned(IDS).logits)
    with pytest.raises(ValueError, match="load with them alone; save with whole=False"):
        tuned.save_pretrained(tmp_path, whole=True)


def test_no_trained_weight_is_that_of_another_module(folder: Path) -> None:
    """Layers that were made ordinary are copied, and what was copied goes; nothing is to be taken for it later."""
    for _ in range(40):
        tuned = tune_from(load(folder, "texts", "8 bits"), 2)
        trained = [parameter for module in tuned.ladder_modules().values() for parameter in module.parameters()]
        assert len({parameter.data_ptr() for parameter in trained}) == len(trained)


def test_fisher_information_of_quantised_weights_is_refused(folder: Path) -> None:
    with pytest.raises(
        ValueError, match="needs gradients of all weights, and quantised ones have none; use 'magnitude"
    ):
        get_ladder_model(load(folder, "texts", "8 bits"), LadderConfig(init="fisher"), batches=[{"input_ids": IDS}])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Linear8bitLt", "Linear4bit"])
def test_a_quantised_layer_is_read_as_the_matrix_that_it_multiplies_with(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=bias)
    options = {"has_fp16_weights": False} if kind == "Linear8bitLt" else {}
    layer = getattr(bitsandbytes.nn, kind)(64, 32, bias=bias, **options)
    layer.load_state_dict(linear.state_dict())
    layer.to("cpu").eval()
    before = comparable_parameters(layer)["weight"]
    dense = dense_parameters(layer)
    assert dense["weight"].shape == (32, 64)
    torch.testing.assert_close(dense["weight"], linear.weight.data, rtol=0, atol=0.03)
    inputs = torch.randn(5, 64)
    ordinary = make_dense(nn.Sequential(layer), torch.float32)
    torch.testing.assert_close(ordinary(inputs), layer(inputs), rtol=0, atol=0.05)
    assert torch.equal(comparable_parameters(layer)["weight"], before)  # though it has run
