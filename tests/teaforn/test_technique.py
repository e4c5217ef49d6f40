"""TeaForN in the Trainer: the loss that the core has, and nothing where it is switched off."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Seq2SeqTrainingArguments, T5Config, T5ForConditionalGeneration

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss
from nlpkit.probes import saved_activation_bytes
from nlpkit.teaforn import (
    Argmax,
    EmbeddingMixture,
    Feed,
    Gumbel,
    Raw,
    RmsMatched,
    TeaForN,
    decoder_runner,
    levels,
    teaforn_loss,
)
from nlpkit.training import FGM, RDrop, ScheduledStrength, Technique, linear_strength
from tests.contract.stock_heads import HEADS
from tests.teaforn.models import DECODERS, ENCODER_DECODERS, WRITERS, batch_for


def trained(
    model: Any,
    folder: Path,
    techniques: list[Technique],
    steps: int = 1,
    loss: Any = None,
    resumed: str | None = None,
    **settings: Any,
) -> tuple[dict[str, Tensor], Any]:
    """What steps of plain SGD have done to a model, on a batch of three rows."""
    usual: dict[str, Any] = {
        "max_steps": steps,
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "per_device_train_batch_size": 3,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
    }
    batch = batch_for(model)
    rows = [{name: value[row] for name, value in batch.items()} for row in range(3)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = TechniqueSeq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(str(folder), **(usual | settings)),
        train_dataset=rows,
        eval_dataset=rows,
        techniques=techniques,
        loss=loss(model) if loss else None,
    )
    trainer.train(resume_from_checkpoint=resumed)
    return {name: before[name] - value for name, value in model.state_dict().items()}, trainer


def same(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 1e-12) -> bool:
    return all((first[name] - second[name]).abs().max() <= tolerance for name in first)


@pytest.mark.parametrize(
    ("feed", "drop"),
    [
        (Raw(), True),
        (RmsMatched(), True),
        (RmsMatched(), False),
        (EmbeddingMixture(3), False),
        (EmbeddingMixture(None, detach=True), True),
        (Argmax(), True),
    ],
)
@pytest.mark.parametrize("name", ["T5", "BART scaled", "Qwen 3"])
def test_its_gradient_is_that_of_the_functional_core(name: str, feed: Feed, drop: bool, tmp_path: Path) -> None:
    model = WRITERS[name]().double()
    runner = decoder_runner(model, batch_for(model))
    found = levels(runner.run, runner.embeddings, 3, feed, replaced=runner.replaced, vocabulary=runner.vocabulary)
    teaforn_loss(found, runner.labels, [1.0, 0.8, 0.4], replaced=runner.replaced, drop_repeats=drop).backward()
    core = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    step, _ = trained(model, tmp_path, [TeaForN(3, weight=0.8, decay=0.5, feed=feed, drop_repeats=drop)])
    for key, value in core.items():
        torch.testing.assert_close(step[key], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["T5 untied", "mBART", "GPT-2"])
@pytest.mark.parametrize("off", [TeaForN(3, weight=0.0), TeaForN(levels=1)], ids=["weight 0", "one level"])
def test_teacher_forcing_is_the_plain_trainer_bit_for_bit(name: str, off: Technique, tmp_path: Path) -> None:
    plain, _ = trained(WRITERS[name](), tmp_path, [], steps=2)
    ours, _ = trained(WRITERS[name](), tmp_path, [off], steps=2)
    assert all(torch.equal(ours[key], plain[key]) for key in plain)


@pytest.mark.parametrize("name", ["T5", "Llama"])
def test_recomputed_levels_have_the_same_gradient_with_dropout_too(name: str, tmp_path: Path) -> None:
    ends = []
    for recompute in (False, True):
        model = WRITERS[name]().double()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        if name == "Llama":
            model.config.attention_dropout = 0.3
            for layer in model.model.layers:
                layer.self_attn.attention_dropout = 0.3
        torch.manual_seed(0)
        step, _ = trained(model, tmp_path, [TeaForN(levels=3, feed=Gumbel(), recompute=recompute)])
        ends.append(step)
    assert same(*ends)


def test_each_level_has_its_own_dropout(tmp_path: Path) -> None:
    """Where levels had one mask, level 2 would read in the first position what level 1 had there, and give it."""
    model = ENCODER_DECODERS["T5"]().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    runner = decoder_runner(model.train(), batch_for(model))
    first, second = levels(
        runner.run, runner.embeddings, 2, Raw(), replaced=runner.replaced, vocabulary=runner.vocabulary
    )
    assert not torch.isclose(first.hidden[:, 0], second.hidden[:, 0]).all()


def test_saved_activations_of_three_recomputed_levels() -> None:
    """The bar is 1.3 times those of teacher forcing; without recomputation they are more."""
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=500, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0)
    ).train()
    ids = torch.randint(5, 500, (2, 64))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :16]}

    def kept(technique: TeaForN | None) -> int:
        host: Any = SimpleNamespace(model=model, args=None, task_loss=CrossEntropyLoss())
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(batch["labels"])
        items = {"loss": torch.tensor(32)}

        def step() -> Any:
            if technique is None:
                return host.task_loss.terms(model(**inputs), batch, items)
            technique.prepare(host)
            with technique.training():
                outputs = model(**inputs)
                return technique.terms(host.task_loss.terms(outputs, batch, items), outputs, batch, items)

        return saved_activation_bytes(model, step)

    assert kept(TeaForN(levels=3, recompute=True)) <= 1.3 * kept(None)
    assert kept(TeaForN(levels=3)) > 1.4 * kept(None)


def test_its_terms_are_logged_by_level_and_add_up(tmp_path: Path) -> None:
    _, trainer = trained(ENCODER_DECODERS["T5"]().double(), tmp_path, [TeaForN(3, weight=0.5)])
    log = trainer.state.log_history[0]
    terms = [log[name] for name in ("task_loss", "tea_for_n/level_2", "tea_for_n/level_3")]
    assert log["loss"] == pytest.approx(sum(terms), rel=1e-5)
    assert all(term > 0 for term in terms)


def test_its_weight_can_grow_from_nothing(tmp_path: Path) -> None:
    technique = TeaForN(levels=2)
    schedule = ScheduledStrength(technique, "weight", linear_strength(0.0, 1.0))
    _, trainer = trained(ENCODER_DECODERS["T5"](), tmp_path, [technique, schedule], steps=3)
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert ["tea_for_n/level_2" in log for log in logs] == [False, True, True]


@pytest.mark.parametrize("name", ["T5", "T5 untied", "Llama"])
def test_logits_in_chunks_have_the_same_gradient(name: str, tmp_path: Path) -> None:
    for feed in (RmsMatched(), EmbeddingMixture(2)):
        make = {"levels": 3, "feed": feed}
        shift = name == "Llama"
        ends = [
            trained(WRITERS[name]().double(), tmp_path, [TeaForN(**make)], loss=loss)[0]
            for loss in (
                lambda model, shift=shift: CrossEntropyLoss(shift=shift),
                lambda model, shift=shift: ChunkedCrossEntropyLoss(model, shift=shift, chunk=3),
            )
        ]
        assert same(*ends)


def test_every_level_has_the_loss_of_the_task(tmp_path: Path) -> None:
    """Label smoothing of the Trainer's own settings, and a function of outputs and labels."""

    def smoothed(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        loss = torch.nn.functional.cross_entropy(
            outputs.logits.flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=0.2
        )
        return loss / num_items_in_batch

    ends = [
        trained(ENCODER_DECODERS["T5"]().double(), tmp_path, [TeaForN(levels=3)], loss=loss, **settings)[0]
        for loss, settings in ((None, {"label_smoothing_factor": 0.2}), (lambda model: smoothed, {}))
    ]
    assert same(*ends)
    plain, _ = trained(ENCODER_DECODERS["T5"]().double(), tmp_path, [TeaForN(levels=3)])
    assert not same(ends[0], plain, 1e-4)


@pytest.mark.parametrize("other", [FGM(0.5), RDrop(4.0, dropout=0.1)], ids=["fgm", "r-drop"])
@pytest.mark.parametrize("recompute", [False, True])
def test_other_techniques_act_beside_it(other: Technique, recompute: bool, tmp_path: Path) -> None:
    ours = TeaForN(levels=2, recompute=recompute)
    for order in ([ours, other], [other, ours]):
        both, trainer = trained(ENCODER_DECODERS["T5"]().double(), tmp_path, order)
        alone, _ = trained(ENCODER_DECODERS["T5"]().double(), tmp_path, [TeaForN(levels=2)])
        assert not same(both, alone, 1e-6)
        assert any("tea_for_n" in name for name in trainer.state.log_history[0])


def test_evaluation_is_that_of_level_1_and_nothing_stays_on_the_model(tmp_path: Path) -> None:
    model = ENCODER_DECODERS["BART"]().double()
    _, trainer = trained(model, tmp_path, [TeaForN(levels=3)])
    model.eval()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(model(**batch_for(model)).loss.item(), rel=1e-6)
    assert not any(module._forward_hooks for module in model.modules())  # it is what it was, and generates so


def test_it_trains_in_bf16_and_beside_lora(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        ENCODER_DECODERS["T5"](), peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"])
    )
    step, _ = trained(model, tmp_path, [TeaForN(levels=3, recompute=True)], bf16=True, steps=2)
    moved = {name for name, value in step.items() if value.abs().max() > 0}
    assert moved and all("lora" in name for name in moved)
    assert all(value.isfinite().all() for value in step.values())


def test_a_micro_batch_without_labels_adds_nothing(tmp_path: Path) -> None:
    model = DECODERS["Llama"]().double()
    technique = TeaForN(levels=3)
    trained(model, tmp_path, [technique])
    batch = batch_for(model)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    with technique.training():
        outputs = model(**{name: value for name, value in batch.items() if name != "labels"})
        terms = technique.terms({}, outputs, batch, {"loss": torch.tensor(5)})
    assert [value.item() for value in terms.values()] == [0.0, 0.0]
    torch.stack(list(terms.values())).sum().backward()


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    for number in (0, 0.5, 2.5, True):
        with pytest.raises(
            (ValueError, TypeError), match=rf"levels={number}: give a whole number at least 1; 1 is tea"
        ):
            TeaForN(number)  # type: ignore[arg-type]
    for name, number in (("weight", -1), ("weight", float("nan")), ("decay", float("inf")), ("decay", "1")):
        with pytest.raises((ValueError, TypeError), match=f"{name}={number!r}: give a finite number at least 0"):
            TeaForN(**{name: number})
    with pytest.raises(TypeError, match=r"feed='raw' is no feed; give one of nlpkit\.teaforn, such as RmsMatched"):
        TeaForN(feed="raw")  # type: ignore[arg-type]
    masked = next(case for case in HEADS if case.name == "BertForMaskedLM")
    with pytest.raises(ValueError, match=r"BertForMaskedLM does not predict the next token"):
        trained(masked.model(), tmp_path, [TeaForN()])
    with pytest.raises(ValueError, match=r"TeaForN runs the decoder more than once: leave ddp_static_graph=True out"):
        trained(ENCODER_DECODERS["T5"](), tmp_path, [TeaForN()], ddp_static_graph=True)
