from __future__ import annotations

import pytest
import torch

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from tests.ladder_side_tuning.small_models import small_batch, small_labels, small_model


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


def test_modules_to_save_are_trained_copies() -> None:
    model = small_model("bert-mlm")
    ladder = get_ladder_model(model, LadderConfig(reduction=2, modules_to_save=["cls.predictions.transform"]))
    trained = ladder.cls.predictions.transform.dense.weight
    assert trained.requires_grad
    assert trained.data_ptr() != model.cls.predictions.transform.dense.weight.data_ptr()
    with pytest.raises(ValueError, match="modules_to_save names 'score'; BertForMaskedLM has bert, cls, and parts"):
        get_ladder_model(model, LadderConfig(modules_to_save=["score"]))


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
