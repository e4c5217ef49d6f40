"""Which modules begin at random, which LoRA is put on, and a learning rate of the head's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
from nlpkit.training.heads import give_head_its_own_rate, head_modules, lora_targets
from tests.ladder_side_tuning.small_models import DECODERS, SEQ2SEQ, small_model

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def test_the_head_begins_at_random_unless_it_is_a_language_models() -> None:
    assert head_modules(small_model("bert-sequence")) == ["bert.pooler", "classifier"]
    assert head_modules(small_model("bert-tokens")) == ["classifier"]
    assert head_modules(small_model("bert-qa")) == ["qa_outputs"]
    assert head_modules(small_model("roberta")) == ["classifier"]
    for name in ("bert-mlm", "wobert-mlm", "bert-bare", *DECODERS, *SEQ2SEQ):
        assert head_modules(small_model(name)) == []


def test_lora_is_put_on_queries_and_values() -> None:
    assert lora_targets(small_model("bert-sequence")) == ["query", "value"]
    assert lora_targets(small_model("llama")) == ["q_proj", "v_proj"]
    assert lora_targets(small_model("t5")) == ["q", "v"]
    assert lora_targets(small_model("gpt2")) == ["c_attn"]
    with pytest.raises(ValueError, match="Linear has none of the projections"):
        lora_targets(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


SMALL = {"vocab_size": 9, **SIZES}
FAMILIES = {
    "distilbert": {"vocab_size": 9, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8},
    "deberta": SMALL,
    "deberta-v2": SMALL,
    "modernbert": {
        **SMALL, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0,
    },
    "gpt_neox": SMALL,
    "phi3": {**SMALL, "pad_token_id": 0},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_changes_the_attention_of_each_family(family: str) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **FAMILIES[family])).eval()
    ids = torch.tensor([[1, 2, 3, 4]])
    before = model(input_ids=ids)[0].detach()
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=lora_targets(model), init_lora_weights=False))
    assert not torch.allclose(adapted(input_ids=ids)[0], before)
    assert all("lora_" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)


@pytest.mark.parametrize("method", ["full", "lora", "ladder"])
def test_the_head_over_a_model_may_have_its_own_rate(method: str, tmp_path: Path) -> None:
    model: Any = BertForSequenceClassification(BertConfig(vocab_size=9, **SIZES))
    if method == "lora":
        peft = pytest.importorskip("peft")
        heads = ["classifier", "bert.pooler"]
        model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"], modules_to_save=heads))
    elif method == "ladder":
        model = get_ladder_model(model, LadderConfig(reduction=2))
    args = TrainingArguments(str(tmp_path), learning_rate=0.5, weight_decay=0.25, report_to="none")
    usual = {
        parameter: group["weight_decay"]
        for group in Trainer(model, args).create_optimizer().param_groups
        for parameter in group["params"]
    }
    optimizer: Any = Trainer(model, args).create_optimizer()
    give_head_its_own_rate(model, optimizer, 2.0)
    groups = [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(groups) == len(usual) and {parameter: group["weight_decay"] for parameter, group in groups} == usual
    rates = {parameter: group["lr"] for parameter, group in groups}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(rates)
    for name, parameter in trained.items():
        assert rates[parameter] == (2.0 if "classifier" in name or "bert.pooler" in name else 0.5)


def test_a_model_without_a_head_of_its_own_is_refused() -> None:
    model = BertForMaskedLM(BertConfig(vocab_size=9, **SIZES))
    with pytest.raises(ValueError, match="the optimizer trains no head of BertForMaskedLM that begins at random"):
        give_head_its_own_rate(model, torch.optim.SGD(model.parameters(), lr=1.0), 2.0)
