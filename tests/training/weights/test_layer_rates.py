"""Depths in any architecture, and learning rates that follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification, BertForTokenClassification, Seq2SeqTrainingArguments

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.losses import CenterLoss, CrossEntropyLoss
from nlpkit.optimizers import Muon
from nlpkit.training import LayerRates
from nlpkit.training.weights.depths import depths
from tests.optimizers.small_models import MODELS, small_model
from tests.training.runs import same_weights, trainer, whole_and_resumed
from tests.training.runs import small_model as small_bert


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_a_depth(name: str) -> None:
    model = small_model(name)
    found, top = depths(model)
    assert top == 3 and found.keys() == dict(model.named_parameters()).keys()
    assert set(found.values()) == {0, 1, 2, 3}
    assert found[next(name for name, p in model.named_parameters() if p is model.get_input_embeddings().weight)] == 0


def test_depths_in_known_families() -> None:
    bert, _ = depths(small_model("bert-sequence"))
    assert bert["bert.embeddings.LayerNorm.bias"] == bert["bert.embeddings.position_embeddings.weight"] == 0
    assert bert["bert.encoder.layer.0.output.dense.weight"] == 1
    assert bert["bert.pooler.dense.weight"] == bert["classifier.weight"] == 3
    t5, top = depths(small_model("t5", num_decoder_layers=1))
    assert t5["encoder.block.0.layer.0.SelfAttention.q.weight"] == 1
    assert t5["decoder.block.0.layer.0.SelfAttention.q.weight"] == 2
    assert t5["decoder.final_layer_norm.weight"] == top == 3
    gpt2, _ = depths(small_model("gpt2"))
    assert gpt2["transformer.wpe.weight"] == 0 and gpt2["transformer.ln_f.weight"] == 3


def made(folder: Path, technique: LayerRates, model: Any = None, **options: Any) -> Any:
    run = trainer(folder, [technique], model, learning_rate=0.5, weight_decay=0.25, options=options)
    return run.model, run.create_optimizer()


def test_rates_fall_downwards_and_decay_stays(tmp_path: Path) -> None:
    technique = LayerRates(0.5, head_rate=2.0)
    model, optimizer = made(tmp_path, technique, small_bert(BertForSequenceClassification))
    rates = {p: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    expected = {"bert.embeddings": 0.0625, "bert.encoder.layer.0": 0.125, "bert.encoder.layer.1": 0.25}
    for name, parameter in model.named_parameters():
        decays = parameter.dim() == 2
        rate = next((rate for place, rate in expected.items() if name.startswith(place)), 2.0)
        assert rates[parameter] == (rate, 0.25 if decays else 0.0), name
        assert technique.rates[name] == rate


def test_lora_and_other_optimizers_have_rates_too(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["query"], modules_to_save=["classifier"])
    model, optimizer = made(tmp_path, LayerRates(0.5), peft.get_peft_model(small_bert(), config))
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.125, 0.25, 0.5]
    model, optimizer = made(tmp_path, LayerRates(0.5), optimizer_cls_and_kwargs=(lambda: Muon, {"lr": 0.5}))
    assert {group["method"] for group in optimizer.param_groups} == {"adamw", "muon"}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert {group["lr"] for group in optimizer.param_groups if group["method"] == "muon"} == {0.125, 0.25}


def test_the_parameters_of_a_loss_are_adamws_beside_muon(tmp_path: Path) -> None:
    """Whichever group is the first one, once rates are sorted."""
    loss = CenterLoss(CrossEntropyLoss(), 5, 16, momentum=None)
    run = trainer(
        tmp_path, [LayerRates(0.9)], small_bert(num_labels=5), steps=2,
        options={"loss": loss, "optimizer_cls_and_kwargs": (lambda: Muon, {"lr": 0.02, "adamw_lr": 1e-3})},
    )  # fmt: skip
    run.train()
    assert loss.learnt is not None and loss.learnt.abs().max() > 0
    *_, own = run.optimizer.param_groups
    assert own["params"] == [loss.learnt] and own["method"] == "adamw" and own["weight_decay"] == 0
    assert own["initial_lr"] == 1e-3 and own["betas"] == (0.9, 0.95)
    assert run.optimizer.param_groups[0]["method"] == "muon"


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole, again = whole_and_resumed(tmp_path, lambda: [LayerRates(0.5)])
    assert same_weights(whole.model, again.model)
    assert len({group["initial_lr"] for group in again.optimizer.param_groups}) == 4


def test_what_has_no_depth_or_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"LayerRates: decay=0 must be in \(0, 1\]"):
        LayerRates(0)
    with pytest.raises(ValueError, match=r"Linear has no nn.ModuleList of blocks, by which depths are told"):
        depths(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"LayerRates: BertForMaskedLM has no head that begins at random"):
        LayerRates(head_rate=1.0).groups(small_model("bert"), [])
    assert LayerRates(head_rate=1.0).groups(small_bert(BertForTokenClassification), []) == []


def test_rates_beside_an_optimizer_that_was_given_are_refused(tmp_path: Path) -> None:
    model = small_bert(BertForTokenClassification)
    options = {"optimizers": (torch.optim.SGD(model.parameters(), lr=0.1), None)}
    with pytest.raises(ValueError, match=r"LayerRates sets rates where the Trainer makes the optimizer: give that as"):
        trainer(tmp_path, [LayerRates(0.5)], model, options=options)
    own = trainer(tmp_path, [LayerRates(0.5)], steps=1)
    own.create_optimizer()
    own.train()
    own.train()  # with the optimizer of the first time


def test_a_seq2seq_trainer_makes_any_optimizer(tmp_path: Path) -> None:
    args = Seq2SeqTrainingArguments(str(tmp_path), use_cpu=True, report_to=[], learning_rate=0.5)
    model, technique = small_model("t5"), LayerRates(0.5)
    made: Any = (torch.optim.SGD, {"lr": 0.5})
    run = TechniqueSeq2SeqTrainer(model, args, optimizer_cls_and_kwargs=made, techniques=[technique])
    assert isinstance(run.create_optimizer(), torch.optim.SGD)
    assert min(technique.rates.values()) < 0.5
    given: Any = (torch.optim.SGD(model.parameters(), lr=0.1), None)
    with pytest.raises(ValueError, match="give optimizers= or optimizer_cls_and_kwargs=, not both"):
        TechniqueSeq2SeqTrainer(model, args, optimizer_cls_and_kwargs=made, optimizers=given)
