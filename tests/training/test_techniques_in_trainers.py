"""Techniques and losses in Trainers that are used in other ways than once, with one of each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertForSequenceClassification, BertForTokenClassification, TrainerCallback

from nlpkit import TechniqueTrainer
from nlpkit.losses import CrossEntropyLoss, F1WeightedLoss
from nlpkit.training import (
    EMA,
    FGM,
    PGD,
    SWA,
    GradientPenalty,
    ImplicitGradient,
    LayerRates,
    RDrop,
    Technique,
    VirtualAdversarial,
    WeightScaleInvariant,
)
from nlpkit.training.frame.checkpoints import load_state, save_state
from tests.training.runs import small_model, trainer

SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "learning_rate": 0.1}


def weights(run: Any) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in run.model.named_parameters()}


def penalty(name: str = "classifier.weight", weight: float = 1.0) -> WeightScaleInvariant:
    return WeightScaleInvariant(weight, parameters=[name])


def test_techniques_of_one_class_each_have_their_full_strength(tmp_path: Path) -> None:
    first, second = "bert.encoder.layer.0.output.dense.weight", "classifier.weight"
    ends = []
    for techniques in ([], [penalty(first)], [penalty(second)], [penalty(first), penalty(second)]):
        run = trainer(tmp_path, techniques, small_model().double(), steps=1, **SGD)
        run.train()
        ends.append(weights(run))
    plain, one, other, both = ends
    for name, start in plain.items():
        torch.testing.assert_close(both[name] - start, (one[name] - start) + (other[name] - start))
    logged = run.state.log_history[0]
    assert {"weight_scale_invariant", "weight_scale_invariant_2"} < logged.keys()


def test_a_technique_cannot_be_in_a_list_twice(tmp_path: Path) -> None:
    one = FGM()
    with pytest.raises(ValueError, match=r"techniques\[2\] is there already: make another FGM"):
        trainer(tmp_path, [one, RDrop(), one])


def test_a_second_training_logs_its_own_terms_alone(tmp_path: Path) -> None:
    still = SGD | {"learning_rate": 1e-12, "logging_steps": 2, "train_sampling_strategy": "sequential"}
    model = small_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).double()
    run = trainer(tmp_path, [penalty()], model, steps=3, **still)
    logs = []
    for _ in range(2):
        run.train()
        logs.append([log for log in run.state.log_history if "loss" in log])
    (first,), (second,) = logs
    for name in ("loss", "task_loss", "weight_scale_invariant"):
        assert second[name] == pytest.approx(first[name], rel=1e-6)


def test_techniques_act_on_the_model_that_model_init_makes(tmp_path: Path) -> None:
    def end(techniques: Any) -> dict[str, Tensor]:
        usual = trainer(tmp_path, steps=2, **SGD)
        data = {"train_dataset": usual.train_dataset, "data_collator": usual.data_collator}
        run = TechniqueTrainer(model_init=lambda: small_model(), args=usual.args, techniques=techniques, **data)
        run.train()
        return weights(run)

    plain = end([])["classifier.weight"]
    for technique in (penalty(), FGM(), RDrop(4.0, dropout=0.3)):
        assert not torch.equal(end([technique])["classifier.weight"], plain)


def test_a_technique_that_another_trainer_has_had_acts_on_its_own_model_again(tmp_path: Path) -> None:
    alone = trainer(tmp_path, [penalty()], steps=1, **SGD)
    alone.train()
    shared = penalty()
    first = trainer(tmp_path, [shared], steps=1, **SGD)
    trainer(tmp_path, [shared], small_model(num_hidden_layers=1), steps=1, **SGD)
    first.train()
    for name, expected in weights(alone).items():
        torch.testing.assert_close(weights(first)[name], expected)


def test_states_in_a_checkpoint_are_found_by_name_whatever_the_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 0.01}
    trainer(tmp_path, [EMA(0.9)], **settings).train()

    def averaged(techniques: Any) -> int:
        resumed = trainer(tmp_path / "again", techniques, steps=3, **(settings | {"save_steps": 3}))
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
        state = load_file(tmp_path / "again" / "checkpoint-3" / "techniques.safetensors")
        return int(state[f"{techniques[-1].name}/averaged"])

    assert averaged([EMA(0.9)]) == averaged([GradientPenalty(0.1), EMA(0.9)]) == 3
    caplog.clear()  # of what GradientPenalty has said
    with caplog.at_level(logging.WARNING):
        averaged([FGM(), EMA(0.9)])
        assert "begins anew" not in caplog.text and "stays behind" not in caplog.text  # FGM has nothing to begin with
        averaged([SWA(0.9)])
    assert "swa begins anew" in caplog.text and "has the state of ema" in caplog.text
    assert "has the state of ema, which is not in this run and stays behind" in caplog.text


def test_a_state_that_does_not_fit_is_told_by_its_name(tmp_path: Path) -> None:
    class Counts(Technique):
        def __init__(self, key: str) -> None:
            self.key, self.count = key, torch.tensor(1)

        def state_dict(self) -> dict[str, Tensor]:
            return {self.key: self.count}

        def load_state_dict(self, state: dict[str, Tensor]) -> None:
            self.count = state[self.key]

    save_state(tmp_path, [Counts("steps")], Scaled())
    with pytest.raises(ValueError, match=r"the state of counts in .* does not fit, as if .* other settings: 'rows'"):
        load_state(tmp_path, [Counts("rows")], None)
    with pytest.raises(ValueError, match=r"the state of loss Scaled in .* does not fit"):
        load_state(tmp_path, [], Scaled(factors=2))


def test_the_state_of_techniques_is_there_before_older_checkpoints_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, [EMA(0.9)], save_strategy="steps", save_steps=2, save_total_limit=1)
    seen, rotate = [], __import__("transformers.trainer", fromlist=["rotate_checkpoints"]).rotate_checkpoints

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append((tmp_path / f"checkpoint-{run.state.global_step}" / "techniques.safetensors").is_file())
        return rotate(*args, **kwargs)

    monkeypatch.setattr("transformers.trainer.rotate_checkpoints", watched)
    run.train()
    assert seen == [True, True]


def test_parameters_of_a_loss_are_those_of_the_best_model(tmp_path: Path) -> None:
    loss = Scaled()
    kept: dict[int, float] = {}

    class Keep(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            kept[state.global_step] = loss.factor.item()

    steps = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1, "eval_steps": 1}
    highest_loss = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    run = trainer(tmp_path, options={"loss": loss}, **(SGD | steps | highest_loss))  # an early one, not the last
    run.add_callback(Keep())
    run.train()
    best = int(str(run.state.best_model_checkpoint).rpartition("-")[2])
    assert loss.factor.item() == kept[best]
    assert kept[best] != kept[4]


class Scaled(CrossEntropyLoss):
    """Cross-entropy of logits times a number that is learnt."""

    def __init__(self, factors: int = 1) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(factors))

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits * self.factor


def test_parameters_of_a_loss_are_trained_by_an_optimizer_that_was_given(tmp_path: Path) -> None:
    model, loss = small_model(), Scaled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer(tmp_path, model=model, steps=1, options={"loss": loss, "optimizers": (optimizer, None)}).train()
    assert loss.factor.item() != 1


def test_label_smoothing_beside_a_given_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing_factor is of the head's own loss: give loss= its label_sm"):
        trainer(tmp_path, options={"loss": CrossEntropyLoss()}, label_smoothing_factor=0.3)


@pytest.mark.parametrize("settings", [{"torch_compile": True, "torch_compile_backend": "eager"}, {}])
def test_stock_heads_are_known_compiled_or_without_return_dict(settings: dict[str, Any], tmp_path: Path) -> None:
    model = small_model()
    model.config.return_dict = bool(settings)
    run = trainer(tmp_path, model=model, steps=1, **settings)
    run.train()
    expected = trainer(tmp_path, model=small_model(), steps=1)
    expected.train()
    assert run.state.log_history[0]["loss"] == pytest.approx(expected.state.log_history[0]["loss"], rel=1e-6)


def test_the_head_is_checked_on_the_first_batch_with_labels(tmp_path: Path) -> None:
    class Penalised(BertForTokenClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            outputs = super().forward(*args, **kwargs)
            outputs.loss = None if outputs.loss is None else outputs.loss + 0.001
            return outputs

    settings = {"train_sampling_strategy": "sequential", "remove_unused_columns": False}
    run = trainer(tmp_path, model=small_model(Penalised), **settings)
    rows: Any = run.train_dataset
    for row in rows[:2]:
        row["labels"] = torch.full_like(row["labels"], -100)
    with pytest.raises(ValueError, match=r"the head of Penalised has a loss of 1\.\d+ where CrossEntropyLoss\(\) has"):
        run.train()
    assert run.state.global_step == 1


def test_a_loss_that_looks_back_begins_anew_with_each_training_but_a_resumed_one(tmp_path: Path) -> None:
    labels = [
        {"input_ids": torch.tensor([2, 5 + n, 3]), "labels": torch.tensor([1.0, 0.0, n % 2, 0.0, 1.0])}
        for n in range(8)
    ]
    loss, ends = F1WeightedLoss(), []
    for folder in ("one", "two"):
        model = small_model(BertForSequenceClassification, problem_type="multi_label_classification").double()
        settings = {"save_strategy": "steps", "save_steps": 2, "data_seed": 1}
        run = trainer(tmp_path / folder, model=model, rows=lambda: labels, options={"loss": loss}, **(SGD | settings))
        run.data_collator = torch.utils.data.default_collate
        run.train()
        ends.append(weights(run)["classifier.weight"])
    assert torch.equal(*ends)
    run.train(resume_from_checkpoint=str(tmp_path / "two" / "checkpoint-2"))
    assert torch.equal(weights(run)["classifier.weight"], ends[0])


#: Techniques of which the log holds more than the loss.
SHOWN: dict[str, Callable[[], Technique]] = {
    "r_drop": lambda: RDrop(4.0, dropout=0.1),
    "fgm/loss": lambda: FGM(0.5),
    "pgd/loss": lambda: PGD(0.5, weight=0.7),
    "gradient_penalty": lambda: GradientPenalty(),
    "virtual_adversarial": lambda: VirtualAdversarial(),
    "weight_scale_invariant": lambda: penalty(),
    "implicit_gradient": lambda: ImplicitGradient(),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_loss_in_the_log_is_the_sum_of_all_terms(name: str, tmp_path: Path) -> None:
    run = trainer(tmp_path, [SHOWN[name]()], small_model().double(), steps=2, logging_steps=2)
    run.train()
    logged = run.state.log_history[0]
    terms = {key: value for key, value in logged.items() if key in ("task_loss", name)}
    others = logged.keys() - terms.keys() - {"loss", "grad_norm", "learning_rate", "epoch", "step"}
    assert len(terms) == 2 and not others
    assert logged["loss"] == pytest.approx(sum(terms.values()), rel=1e-5)  # the Trainer's sum is in fp32


def test_a_technique_that_another_trainer_numbers_has_its_own_number_here(tmp_path: Path) -> None:
    names = []
    for shares in (False, True):
        pair = [penalty(), penalty("classifier.bias")]
        run = trainer(tmp_path, pair)
        if shares:
            trainer(tmp_path, [pair[1]])
        run.train()
        names.append({name: value for name, value in run.state.log_history[0].items() if "weight_scale" in name})
    assert len(names[0]) == 2 and names[0] == names[1]


@pytest.mark.parametrize("has_threshold", [False, True])
def test_another_optimizer_than_the_checkpoints_is_told(has_threshold: bool, tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2}
    trainer(tmp_path, steps=2, options={"loss": CrossEntropyLoss()}, **settings).train()
    loss, techniques = (Scaled(), []) if has_threshold else (CrossEntropyLoss(), [LayerRates(0.5)])
    again = trainer(tmp_path, techniques, options={"loss": loss}, **settings)
    with pytest.raises(ValueError, match=r"the optimizer's state in .*checkpoint-2 does not fit: .*; go on with the"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
