from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import Phi3Config, Phi3ForCausalLM

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.tuning import tune_from
from nlpkit.wobert.tagging.tagging import WoBertCharacterConfig, WoBertForCharacterClassification
from tests.ladder_side_tuning.small_models import LLAMA, small_batch, small_labels, small_model


def test_the_given_model_stays_as_it_is_but_frozen() -> None:
    model = small_model("bert-sequence")
    batch = small_batch(model)
    expected, names = model(**batch).logits, list(model.state_dict())
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    optimizer = torch.optim.SGD([p for p in ladder.parameters() if p.requires_grad], lr=1.0)
    ladder(**batch, labels=torch.tensor([0, 2])).loss.backward()
    optimizer.step()
    assert list(model.state_dict()) == names
    assert torch.equal(model(**batch).logits, expected)
    shared = {parameter.data_ptr() for parameter in model.parameters()}
    frozen = [p for p in ladder.parameters() if not p.requires_grad]
    assert frozen
    assert all(parameter.data_ptr() in shared for parameter in frozen)


def test_a_refused_configuration_leaves_the_model_trainable() -> None:
    model = small_model("bert-sequence")
    for config in (LadderConfig(reduction=3), LadderConfig(layers=9), LadderConfig(modules_to_save=["nothing"])):
        with pytest.raises(ValueError, match=r"reduction=3|layers=9|nothing"):
            get_ladder_model(model, config)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert len(model.bert.encoder._forward_hooks) == 0


def with_lora(rank: int) -> Callable[[], Any]:
    def make() -> Any:
        model = small_model("bert-sequence")
        model.add_adapter(LoraConfig(r=rank, target_modules=["query"], init_lora_weights=False))
        return model.requires_grad_(True)

    return make


def fused() -> Any:
    return Phi3ForCausalLM(Phi3Config(**LLAMA))


MADE_OTHERWISE = pytest.mark.parametrize(
    ("make", "what"),
    [
        (with_lora(4), r"query\.lora_A\.default\.weight of BertLayer"),
        (with_lora(16), r"query\.bias of BertLayer"),
        (fused, r"gate_up_proj\.weight beside mlp\.down_proj\.weight of Phi3DecoderLayer"),
    ],
)


@MADE_OTHERWISE
@pytest.mark.parametrize("init", ["magnitude", "fisher"])
def test_rows_of_blocks_that_are_made_otherwise_are_not_chosen(make: Any, what: str, init: Any) -> None:
    model = make()
    batch = small_batch(model)
    batches = [batch | small_labels(model, batch)] if init == "fisher" else None
    with pytest.raises(
        ValueError, match=rf"rows cannot be chosen from .*{what}, as where .*: use init='random', merge"
    ):
        get_ladder_model(model, LadderConfig(reduction=2, init=init), batches=batches)
    assert all(parameter.requires_grad for parameter in model.parameters())


@MADE_OTHERWISE
def test_blocks_that_are_made_otherwise_have_random_ladders(make: Any, what: str) -> None:
    model = make().eval()
    batch = small_batch(model)
    ladder = get_ladder_model(model, LadderConfig(reduction=2, init="random"))
    assert torch.isfinite(ladder(**batch).logits[batch["attention_mask"].bool()[:, 0]]).all()
    torch.testing.assert_close(tune_from(model, 1)(**batch).logits, model(**batch).logits)


def test_weights_without_values_are_refused() -> None:
    model = small_model("bert-sequence").to("meta")
    for build in (lambda: get_ladder_model(model, LadderConfig(reduction=2)), lambda: tune_from(model, 1)):
        with pytest.raises(
            ValueError, match=r"word_embeddings\.weight of the BertFor.* is on the meta device and has no"
        ):
            build()


def test_modules_to_save_are_trained_copies() -> None:
    model = small_model("bert-mlm")
    ladder = get_ladder_model(model, LadderConfig(reduction=2, modules_to_save=["cls.predictions.transform"]))
    trained = ladder.cls.predictions.transform.dense.weight
    assert trained.requires_grad
    assert trained.data_ptr() != model.cls.predictions.transform.dense.weight.data_ptr()
    with pytest.raises(ValueError, match="modules_to_save names 'score'; BertForMaskedLM has bert, cls, and parts"):
        get_ladder_model(model, LadderConfig(modules_to_save=["score"]))


def test_a_head_with_inputs_of_its_own_has_a_ladder() -> None:
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = WoBertForCharacterClassification(WoBertCharacterConfig(**sizes, intermediate_size=24, num_labels=3))
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    assert tune_from(model, 1).tapped_layers() == {next(iter(ladder.tapped_layers())): [0]}


@pytest.mark.parametrize("name", ["bert-sequence", "t5", "llama"])
def test_a_backbone_in_bf16_has_a_ladder_in_fp32(name: str) -> None:
    ladder = get_ladder_model(small_model(name).bfloat16(), LadderConfig(reduction=2)).train()
    batch = small_batch(ladder)
    output = ladder(**batch, **small_labels(ladder, batch))
    output.loss.backward()
    dtypes = {p.dtype for key, p in ladder.named_parameters() if p.requires_grad and key.split(".")[0] != "classifier"}
    assert torch.float32 in dtypes
    assert torch.isfinite(output.loss)


@pytest.mark.parametrize("name", ["bert-sequence", "t5"])
def test_a_trained_module_in_fp16_is_refused_when_training_begins(name: str) -> None:
    model = small_model(name).half()
    heads = ["lm_head"] if name == "t5" else None
    ladder = get_ladder_model(model, LadderConfig(reduction=2, modules_to_save=heads))
    assert not ladder.training
    with pytest.raises(ValueError, match=r"cannot be trained in float16 .* load it with from_pretrained"):
        ladder.train()
    assert not any(module.training for module in ladder.modules())
    frozen_only = get_ladder_model(small_model(name).half(), LadderConfig(reduction=2, modules_to_save=[])).train()
    assert {p.dtype for p in frozen_only.parameters() if p.requires_grad} == {torch.float32}
