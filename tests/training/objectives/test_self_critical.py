"""Training on rewards: it raises them, whatever cuts a step, for encoder-decoders and decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
)

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import (
    EMA,
    FGM,
    PGD,
    Flooding,
    FreeLB,
    GradientPenalty,
    ImplicitGradient,
    RDrop,
    ScheduledStrength,
    SelfCritical,
    Technique,
    TechniqueTrainer,
    VirtualAdversarial,
    WeightScaleInvariant,
)
from nlpkit.training.objectives.self_critical import _until_end
from tests.contract.cases import Case, pad_tokens, token_ids
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same
from tests.training.runs import trainer

WANTED = 7
_BY_NAME = {case.name: case for case in HEADS}


def t5() -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(
        T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )


def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return LlamaForCausalLM(LlamaConfig(vocab_size=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, **settings))


def wanted_tokens(samples: Tensor, batch: Any) -> Tensor:
    assert len(samples) % len(batch["input_ids"]) == 0
    return (samples == WANTED).float().mean(1)


def left_padded(batch: Any) -> Any:
    """Prompts of a decoder: its rows, padded on the other side."""
    lengths = batch["attention_mask"].sum(1).tolist()
    rolled = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return {
        name: torch.stack([row.roll(len(row) - length) for row, length in zip(values, lengths, strict=True)])
        for name, values in rolled.items()
    }


@pytest.mark.parametrize(("make", "options"), [(t5, {}), (llama, {"prompts": left_padded})], ids=["t5", "llama"])
def test_training_raises_the_reward(make: Any, options: Any, tmp_path: Path) -> None:
    technique = SelfCritical(wanted_tokens, samples=8, max_new_tokens=4, task_weight=0.0, **options)
    arguments = TrainingArguments(
        str(tmp_path), max_steps=30, logging_steps=5, per_device_train_batch_size=8, learning_rate=0.03, use_cpu=True,
        report_to=[], save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = TechniqueTrainer(
        make(), arguments, train_dataset=token_ids(), data_collator=lambda rows: pad_tokens(rows, None),
        loss=CrossEntropyLoss(), techniques=[technique],
    )  # fmt: skip
    trainer.train()
    rewards = [entry["self_critical/reward"] for entry in trainer.state.log_history if "self_critical/reward" in entry]
    assert rewards[0] < 0.3 and rewards[-1] > 0.8


class Settled(SelfCritical):
    """Samples are a function of the row, so that steps can be compared."""

    def _generate(self, inputs: Any, samples: int | None) -> Tensor:
        first = inputs["input_ids"].amax(1).repeat_interleave(samples or 1)
        number = torch.arange(samples or 1).repeat(len(inputs["input_ids"]))
        drawn = torch.stack([(first * 3 + number) % 38 + 2, (first + 5 * number) % 38 + 2, first % 3], dim=1)
        return drawn.long()


def settled(case: Case, weight: float = 1.0, **options: Any) -> SelfCritical:
    prompts = None if case.name.startswith("T5") else left_padded
    return Settled(lambda samples, _: (samples % 5).double().mean(1), weight, samples=3, prompts=prompts, **options)


@pytest.mark.parametrize(
    ("name", "baseline"), [("T5ForConditionalGeneration", "greedy"), ("LlamaForCausalLM", "leave_one_out")]
)
def test_accumulated_steps_equal_one_large_batch(name: str, baseline: Any) -> None:
    case = _BY_NAME[name]

    def step(batch_size: int, accumulation: int, weight: float = 1.0) -> dict[str, Tensor]:
        techniques = [settled(case, weight, baseline=baseline)]
        return gradient(case, batch_size, accumulation, "ours", {"techniques": techniques})

    whole, plain = step(8, 1), gradient(case, 8, 1, "ours")
    assert_same(step(3, 3), whole)
    assert any((whole[key] - plain[key]).abs().max() > 1e-3 for key in plain)
    assert all(torch.equal(tensor, plain[key]) for key, tensor in step(8, 1, 0.0).items())


@pytest.mark.parametrize("make", [t5, llama])
def test_log_probabilities_are_those_that_samples_were_drawn_by(make: Any) -> None:
    model = make().eval()
    batch = pad_tokens(token_ids()[:3], None)
    inputs = batch if make is t5 else left_padded(batch)

    class Direct:
        def forward(self, given: Any) -> Any:
            return model(**given)

    technique = SelfCritical(wanted_tokens, max_new_tokens=5, prompts=left_padded)
    technique._model = model
    torch.manual_seed(0)
    samples = technique._generate(inputs, 2)
    torch.manual_seed(0)
    drawn = model.generate(
        **inputs, do_sample=True, top_k=0, num_return_sequences=2, max_new_tokens=5,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    expected = torch.stack(drawn.logits, 1).log_softmax(-1).gather(-1, samples.unsqueeze(-1)).squeeze(-1)
    twice = {name: value.repeat_interleave(2, dim=0) for name, value in inputs.items()}
    found, mask = technique._log_probs(Direct(), twice, samples)  # type: ignore[arg-type]
    torch.testing.assert_close(found[mask], expected[mask], rtol=0, atol=1e-5)
    ended = (samples == model.generation_config.eos_token_id).int()
    assert torch.equal(mask, ended.cumsum(1) - ended == 0)


def test_samples_do_not_begin_with_the_answer_that_a_collator_gives_the_decoder(tmp_path: Path) -> None:
    """DataCollatorForSeq2Seq(model=...) adds decoder_input_ids, which are the labels, one place on."""
    drawn: dict[bool, list[Any]] = {True: [], False: []}
    for is_given in drawn:
        model, rows = (
            t5(),
            [{"input_ids": torch.tensor([5, 6, 7, 1]), "labels": torch.tensor([30, 31, 32, 33, 1])}] * 4,
        )
        made: Any = model

        def collate(batch: Any, given: bool = is_given, made: Any = made) -> Any:
            found = {name: torch.stack([row[name] for row in batch]) for name in ("input_ids", "labels")}
            shifted = made.prepare_decoder_input_ids_from_labels(found["labels"])
            decoder = {"decoder_input_ids": shifted, "decoder_attention_mask": torch.ones_like(shifted)}
            return found | (decoder if given else {})

        def reward(samples: Tensor, batch: Any, kept: list[Any] = drawn[is_given]) -> Tensor:
            kept.append(samples.tolist())
            return samples.sum(1).float()

        args = TrainingArguments(str(tmp_path), max_steps=2, use_cpu=True, report_to=[], save_strategy="no")
        critical = SelfCritical(reward, samples=2, max_new_tokens=4)
        TechniqueTrainer(made, args, train_dataset=rows, data_collator=collate, techniques=[critical]).train()
    assert drawn[True] == drawn[False] != []


def test_settings_of_generation_and_dropout_are_put_aside_and_back() -> None:
    model = t5()
    model.generation_config.suppress_tokens = list(range(20))
    before = model.generation_config
    technique = SelfCritical(wanted_tokens, max_new_tokens=8)
    technique._model = model.train()
    samples = technique._generate(pad_tokens(token_ids(), None), 8)
    assert ((samples > 1) & (samples < 20)).any()
    assert model.training and model.generation_config is before


def test_models_that_cannot_be_sampled_from_are_refused(tmp_path: Path) -> None:
    bert = _BY_NAME["BertForTokenClassification"].model()
    assert isinstance(bert, BertForTokenClassification)
    for model, message in ((bert, "BertForTokenClassification cannot generate"), (llama(), "hold the answer too")):
        with pytest.raises(ValueError, match=f"SelfCritical: .*{message}"):
            TechniqueTrainer(
                model, TrainingArguments(str(tmp_path), use_cpu=True), techniques=[SelfCritical(wanted_tokens)]
            )


def test_rewards_of_another_number_are_refused() -> None:
    case = _BY_NAME["LlamaForCausalLM"]
    technique = Settled(lambda samples, _: samples.float(), samples=3, prompts=left_padded)
    with pytest.raises(ValueError, match=r"reward gave numbers of shape \(24, 3\) for 24 samples; give \(24,\)"):
        gradient(case, 8, 1, "ours", {"techniques": [technique]})


def test_the_end_of_a_sample_belongs_to_it_and_nothing_behind_does() -> None:
    samples = torch.tensor([[5, 2, 0, 0], [5, 6, 7, 8], [2, 2, 9, 0], [5, 3, 2, 0]])
    lengths = [_until_end(samples, ends).sum(1).tolist() for ends in (2, [2, 3], None)]
    assert lengths == [[2, 4, 1, 3], [2, 4, 1, 2], [4, 4, 4, 4]]


def refused(tmp_path: Path, *techniques: Technique) -> pytest.ExceptionInfo[ValueError]:
    rows = [{"input_ids": ids["input_ids"], "labels": ids["input_ids"]} for ids in token_ids()]
    with pytest.raises(ValueError) as told:
        trainer(tmp_path, techniques, t5(), rows=lambda: rows, steps=2).train()
    return told


def test_without_the_tasks_own_pass_others_have_nothing_to_act_in(tmp_path: Path) -> None:
    def weissi() -> Technique:
        return WeightScaleInvariant(parameters=lambda _, p: p.dim() > 1)

    told = r"SelfCritical\(task_weight=0\) runs no pass for the task's own loss, and {} acts in those alone"
    for make in (VirtualAdversarial, weissi, RDrop, Flooding):
        options: Any = {"level": 0.1} if make is Flooding else {}
        for before in (False, True):
            alone, other = SelfCritical(wanted_tokens, max_new_tokens=2, task_weight=0.0), make(**options)
            found = refused(tmp_path, *((other, alone) if before else (alone, other)))
            found.match(told.format(type(other).__name__))
    refused(tmp_path, SelfCritical(wanted_tokens, max_new_tokens=2, task_weight=0.0), FGM()).match(told.format("FGM"))
    later = SelfCritical(wanted_tokens, max_new_tokens=2)
    falls = ScheduledStrength(later, "task_weight", lambda progress: float(progress < 0.5))
    refused(tmp_path, later, RDrop(dropout=0.1), falls).match(told.format("RDrop"))
    alone = SelfCritical(wanted_tokens, max_new_tokens=2, task_weight=0.0)
    rows = [{"input_ids": ids["input_ids"], "labels": ids["input_ids"]} for ids in token_ids()]
    trainer(tmp_path, [EMA(), alone, RDrop(0.0)], t5(), rows=lambda: rows, steps=1).train()


@pytest.mark.parametrize("make", [FGM, PGD, FreeLB, GradientPenalty, ImplicitGradient])
def test_samples_are_drawn_from_the_model_itself(make: Any, tmp_path: Path) -> None:
    told = refused(tmp_path, make(), SelfCritical(wanted_tokens, max_new_tokens=2))
    told.match(rf"{make.__name__} before SelfCritical moves the model while samples are drawn.*list it behind, techn")
