"""FGM: closed forms, the popular faults, and what is left after a step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification, TrainingArguments

from nlpkit.losses import SquaredErrorLoss
from nlpkit.training import FGM, PGD, FreeLB, GradientPenalty, Technique, TechniqueTrainer, VirtualAdversarial
from nlpkit.training.adversaries.adversary import Adversary
from tests.contract.cases import Case, pad_tokens
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import largest_difference
from tests.training.linear_model import LINEAR, sums_and_lengths
from tests.training.runs import small_model

BY_NAME = {case.name: case for case in HEADS}
TOKENS, ROWS = BY_NAME["BertForTokenClassification"], BY_NAME["BertForSequenceClassification"]
ADVERSARIES = [FGM, PGD, FreeLB, GradientPenalty, VirtualAdversarial]


def ours(case: Case, technique: Technique, batch_size: int = 8, steps: int = 1, **arguments: Any) -> dict[str, Tensor]:
    settings: dict[str, Any] = {"techniques": [technique]}
    if case is LINEAR:
        settings["loss"] = SquaredErrorLoss()
    return gradient(case, batch_size, steps, "ours", settings, **arguments)


def test_a_linear_model_is_moved_by_the_closed_form() -> None:
    model, summed, lengths, numbers = sums_and_lengths()
    weight = model.weight.detach()
    errors = summed @ weight - numbers
    # The gradient is 2 e w at every token, so each moves by epsilon sign(e) w / (||w|| sqrt(length)).
    moved = summed + 0.5 * (errors.sign() * lengths.sqrt())[:, None] * weight / weight.norm()
    expected = 2 * ((moved @ weight - numbers)[:, None] * moved).mean(dim=0)
    found = ours(LINEAR, FGM(0.5, relative=False, include_clean=False))["weight"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    clean = 2 * (errors[:, None] * summed).mean(dim=0)
    found = ours(LINEAR, FGM(0.5, weight=0.25, relative=False))["weight"]
    torch.testing.assert_close(found, clean + 0.25 * expected, rtol=0, atol=1e-12)


def test_a_row_moves_by_a_share_of_its_own_length() -> None:
    model, summed, lengths, numbers = sums_and_lengths()
    weight = model.weight.detach()
    at_tokens = LINEAR.collate(LINEAR.rows(), None)
    own = (model.embedding(at_tokens["input_ids"]) * at_tokens["attention_mask"][..., None]).flatten(1).norm(dim=1)
    moved = (
        summed + 0.1 * ((summed @ weight - numbers).sign() * own * lengths.sqrt())[:, None] * weight / weight.norm()
    )
    expected = 2 * ((moved @ weight - numbers)[:, None] * moved).mean(dim=0)
    found = ours(LINEAR, FGM(0.1, include_clean=False))["weight"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["BertForTokenClassification", "T5ForConditionalGeneration"])
@pytest.mark.parametrize("at", [None, "matrix"])
def test_shares_of_a_length_are_the_same_in_larger_embeddings(name: str, at: str | None) -> None:
    """Norms follow the embedding, so that its size is nothing to the model, but for their epsilon."""
    case = BY_NAME[name]

    def enlarged() -> Any:
        model = case.model()
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(1024.0)
        return model

    lengths: list[Tensor] = []

    class Watched(FGM):
        def reach(self, moves: Any, length: float) -> Tensor | float:
            lengths.append(super().reach(moves, length))
            return lengths[-1]

    for model in (case.model, enlarged):
        ours(Case(name, model, case.rows, case.collate), Watched(at=at))
    torch.testing.assert_close(lengths[1], 1024 * lengths[0], rtol=1e-12, atol=0)
    assert lengths[0].dim() == (at is None)


@pytest.mark.parametrize("tied", [True, False])
def test_the_matrix_is_moved_as_by_editing_it(tied: bool) -> None:
    case = BY_NAME["BertForMaskedLM"] if tied else TOKENS
    model = case.model().double()
    batch = case.collate(case.rows(), None)
    embedding = model.get_input_embeddings()
    outputs: list[Tensor] = []
    handle = embedding.register_forward_hook(lambda _, __, output: outputs.append(output))
    loss = model(**batch).loss
    handle.remove()
    at_tokens = torch.autograd.grad(loss, outputs[0])[0] * batch["attention_mask"][..., None]
    move = torch.zeros_like(embedding.weight).index_add(0, batch["input_ids"].flatten(), at_tokens.flatten(0, 1))
    move *= 0.5 / move.norm()
    with torch.no_grad():
        embedding.weight = nn.Parameter(embedding.weight + move)  # the output head keeps the matrix as it was
    model(**batch).loss.backward()
    found = ours(case, FGM(0.5, at="matrix", relative=False, include_clean=False))
    own = dict(model.named_parameters())
    if tied:  # the two matrices are one parameter
        name = next(name for name, p in own.items() if p is embedding.weight)
        expected = embedding.weight.grad + model.get_output_embeddings().weight.grad
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)
        own = {key: p for key, p in own.items() if p.shape != embedding.weight.shape}
    for name, parameter in own.items():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-6)


def test_the_popular_form_depends_on_the_micro_batches_before_it_and_ours_does_not() -> None:
    """It takes the norm of ``embedding.weight.grad``, in which the gradients of all micro-batches so far have met."""
    model = TOKENS.model().double()
    weight = model.get_input_embeddings().weight
    moves = []
    for rows in (TOKENS.rows()[:4], TOKENS.rows()[4:]):
        model(**TOKENS.collate(rows, None)).loss.backward()
        moves.append(weight.grad / weight.grad.norm())
    weight.grad = None
    model(**TOKENS.collate(TOKENS.rows()[4:], None)).loss.backward()
    alone = weight.grad / weight.grad.norm()
    assert (moves[1] - alone).norm() > 0.1
    assert_same(ours(TOKENS, FGM(0.5), 4, 2), ours(TOKENS, FGM(0.5)))


def test_embeddings_of_their_own_in_the_stacks_of_an_encoder_decoder_are_moved() -> None:
    for name in ("T5ForConditionalGeneration", "BartForConditionalGeneration"):
        case = BY_NAME[name]
        embedding = case.model().get_input_embeddings()
        assert embedding is not case.model().encoder.embed_tokens if name[0] == "T" else True
        once = gradient(case, 8, 1, "ours")
        moved = ours(case, FGM(0.5, include_clean=False))
        assert largest_difference(once, moved) > 1e-3


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_checkpointing_changes_nothing(adversary: type[Adversary]) -> None:
    for settings in ({}, {"at": lambda model: model.bert.encoder.layer[0]}):
        kept = ours(TOKENS, adversary(**settings))
        assert_same(ours(TOKENS, adversary(**settings), gradient_checkpointing=True), kept)


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_tokens_that_are_to_be_still_are_not_moved(adversary: type[Adversary]) -> None:
    everything = range(TOKENS.model().config.vocab_size)
    still = ours(TOKENS, adversary(still=everything))
    plain = gradient(TOKENS, 8, 1, "ours")
    times = 2.0 if adversary in (FGM, PGD) else 1.0  # the loss is there twice, unmoved
    assert_same(still, {name: times * value for name, value in plain.items()}, tolerance=1e-9)
    assert largest_difference(ours(TOKENS, adversary(still=[5, 6, 7])), ours(TOKENS, adversary())) > 1e-4


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_nothing_is_left_of_a_step_that_failed(adversary: type[Adversary]) -> None:
    kept: list[Any] = []

    def model() -> Any:
        kept.append(ROWS.model())
        return kept[-1]

    class Fails(SquaredErrorLoss):
        calls = 0

        def values(self, logits: Tensor, labels: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 2 or adversary is VirtualAdversarial:
                kept.append({name: tensor.clone() for name, tensor in kept[0].state_dict().items()})
                raise ArithmeticError("in the pass against the model")
            return (logits[:, 0] - labels).square()

    case = Case("rows", model, ROWS.rows, pad_tokens)
    with pytest.raises(ArithmeticError):
        gradient(case, 8, 1, "ours", {"techniques": [adversary()], "loss": Fails()})
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in kept[0].modules())
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].state_dict().items())


@pytest.mark.parametrize(
    ("technique", "arguments", "message"),
    [
        (FGM(), {"ddp_static_graph": True}, "FGM runs a batch more than once: leave ddp_static_graph=True out"),
        (
            FGM(),
            {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
            'FGM needs gradients of activations, which reentrant .*kwargs={"use_reentrant": False}',
        ),
        (FGM(at=nn.Linear(2, 2)), {}, r"FGM: Linear did not run in this pass; name a module .*FGM\(at="),
        (
            FGM(at="Matrix"),
            {},
            r"FGM: at='Matrix' is neither \"matrix\" nor the name of a module of BertForTokenClassification: "
            r"is it 'matrix'\?",
        ),
        (FGM(at="bert.embeding"), {}, r"FGM: at='bert.embeding' is neither .*: is it 'bert.embeddings'"),
        (FGM(at="xyz"), {}, r"nor the name of a module of BertForTokenClassification, see model.named_modules\(\)"),
        (FGM(at=lambda model: model.bert), {}, r"at=BertModel returns a .*Output.*, not a tensor: name another"),
        (
            FGM(at=lambda model: model.bert.embeddings.position_embeddings),
            {},
            r"output of Embedding has shape \(1, 12, 16\), and the batch has 8 rows; its first dimension must be",
        ),
    ],
)
def test_what_cannot_be_moved_is_refused(technique: FGM, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours(TOKENS, technique, **arguments)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (5, r"FGM: at= is a int: give None \(the output of the input embedding\), \"matrix\", a module"),
        (lambda model: "bert", r"FGM: at= is a str, which a function has returned: give None"),
    ],
)
def test_what_is_no_place_is_refused(at: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ours(TOKENS, FGM(at=at))


def test_a_module_may_be_named() -> None:
    named, found = (ours(TOKENS, FGM(at=at)) for at in ("bert.encoder.layer.0", lambda m: m.bert.encoder.layer[0]))
    assert_same(named, found)
    assert largest_difference(named, ours(TOKENS, FGM())) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adversary", [FGM, PGD, FreeLB, VirtualAdversarial])
def test_one_token_alone_and_a_row_that_is_all_padding_are_trained_on(
    adversary: type[Adversary], dtype: torch.dtype, tmp_path: Path
) -> None:
    labelled, hidden = ({"input_ids": torch.tensor([5]), "attention_mask": torch.tensor([seen])} for seen in (1, 0))
    for rows in ([labelled], [labelled, hidden]):
        model = small_model(BertForSequenceClassification, num_labels=2).to(dtype)
        arguments = TrainingArguments(
            str(tmp_path), max_steps=2, per_device_train_batch_size=2, use_cpu=True, report_to=[], save_strategy="no"
        )
        data = [row | {"labels": torch.tensor(1)} for row in rows]
        TechniqueTrainer(model, arguments, train_dataset=data, techniques=[adversary()]).train()
        assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_lora_beside_frozen_embeddings_trains_in_bf16_and_with_checkpointing(
    adversary: type[Adversary], tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    exact = {"exact": True} if adversary is GradientPenalty else {}  # a difference of gradients is lost in bf16
    base = TOKENS.model()
    if exact:
        base.set_attn_implementation("eager")
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="TOKEN_CLS", target_modules=["query"]))
    assert not model.get_input_embeddings().weight.requires_grad
    arguments = TrainingArguments(
        str(tmp_path), max_steps=3, logging_steps=1, use_cpu=True, report_to=[], save_strategy="no", bf16=True,
        gradient_checkpointing=True, remove_unused_columns=False,
    )  # fmt: skip
    trainer = TechniqueTrainer(
        model, arguments, train_dataset=TOKENS.rows(), data_collator=lambda rows: TOKENS.collate(rows, None),
        techniques=[adversary(**exact)],
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
