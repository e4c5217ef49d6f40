"""Cross-entropy in chunks: equal to the plain one with all gradients, in stock models, without their logits."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback, TrainingArguments

from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss, Loss, chunked_cross_entropy
from nlpkit.training import FGM, RDrop, TechniqueTrainer
from tests.contract.cases import Case, small_config, wobert
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS, stock
from tests.contract.test_stock_heads import assert_same

_BY_NAME = {case.name: case for case in HEADS}
_DECODERS = {"LlamaForCausalLM", "BertLMHeadModel"}
MODELS = [
    _BY_NAME[name]
    for name in (
        "BertForMaskedLM",
        "T5ForConditionalGeneration",
        "MT5ForConditionalGeneration",
        "LlamaForCausalLM",
        "BertLMHeadModel",
        "ModernBertForMaskedLM",
        "DebertaV2ForMaskedLM",
    )
]
each_model = pytest.mark.parametrize("case", MODELS, ids=str)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_labels(*shape: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, shape, generator=generator)
    return labels.masked_fill(torch.rand(shape, generator=generator) < 0.3, -100)


@given(
    st.integers(1, 9), st.integers(1, 4), st.sampled_from([0.0, 0.1]), st.sampled_from([1.0, 0.3]),
    st.sampled_from([None, 2.0]), st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
def test_value_and_gradients_are_those_of_torch(
    tokens: int, chunk: int, smoothing: float, scale: float, softcap: float | None, with_bias: bool, seed: int
) -> None:
    labels = some_labels(2, tokens, classes=6, seed=seed)
    found, expected = (
        [drawn(2, tokens, 3, seed=seed), drawn(6, 3, seed=seed + 1), drawn(6, seed=seed + 2)] for _ in range(2)
    )
    for tensor in (*found, *expected):
        tensor.requires_grad_()
    logits = scale * F.linear(expected[0], expected[1], expected[2] if with_bias else None)
    logits = logits if softcap is None else softcap * (logits / softcap).tanh()
    plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=smoothing)
    total = chunked_cross_entropy(
        found[0], found[1], labels, bias=found[2] if with_bias else None,
        scale=scale, softcap=softcap, label_smoothing=smoothing, chunk=chunk,
    )  # fmt: skip
    (2.5 * plain).backward()
    (2.5 * total).backward()
    torch.testing.assert_close(total, plain, rtol=0, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_takes_no_gradient(frozen: int) -> None:
    parts = [drawn(4, 3), drawn(6, 3, seed=1), drawn(6, seed=2)]
    for place, part in enumerate(parts):
        part.requires_grad_(place != frozen)
    chunked_cross_entropy(parts[0], parts[1], torch.tensor([0, 5, 2, 1]), bias=parts[2], chunk=2).backward()
    assert [part.grad is None for part in parts] == [place == frozen for place in range(3)]


def test_bf16_sums_in_single_precision() -> None:
    hidden, weight = drawn(512, 16).bfloat16().requires_grad_(), drawn(40, 16, seed=1).bfloat16().requires_grad_()
    labels = some_labels(512, classes=40, seed=3)
    wide = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    total = chunked_cross_entropy(hidden, weight, labels, chunk=8)
    exact = F.cross_entropy(wide[0] @ wide[1].T, labels, reduction="sum")
    total.backward()
    exact.backward()
    assert total.dtype == torch.float32 and hidden.grad is not None and weight.grad is not None
    torch.testing.assert_close(total.double(), exact, rtol=2e-3, atol=0)
    for one, other in zip((hidden.grad, weight.grad), wide, strict=True):
        assert one.dtype == torch.bfloat16 and other.grad is not None
        assert (one.double() - other.grad).norm() / other.grad.norm() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    hidden = torch.tensor([[1e4, -1e4], [0.0, 1.0]], dtype=dtype, requires_grad=True)
    weight = torch.tensor([[10.0, 0.0], [0.0, 10.0], [1.0, 1.0]], dtype=dtype, requires_grad=True)
    total = chunked_cross_entropy(hidden, weight, torch.tensor([1, 2]))
    total.backward()
    assert total.isfinite()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in (hidden, weight))


def test_a_class_that_the_bias_leaves_out_counts_for_nothing() -> None:
    hidden, weight, bias = drawn(4, 3).requires_grad_(), drawn(6, 3, seed=1).requires_grad_(), drawn(6, seed=2)
    bias[5] = -torch.inf
    labels = torch.tensor([0, 4, 2, 1])
    total = chunked_cross_entropy(hidden, weight, labels, bias=bias, chunk=2)
    expected = chunked_cross_entropy(hidden, weight[:5], labels, bias=bias[:5])
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(value, [hidden, weight]) for value in (total, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def loss_of(case: Case, model: Any, **settings: Any) -> ChunkedCrossEntropyLoss:
    return ChunkedCrossEntropyLoss(model, shift=case.name in _DECODERS, chunk=3, **settings)


def step(case: Case, batch_size: int, accumulation: int, trainer: str = "ours", **options: Any) -> dict[str, Tensor]:
    name = "loss" if trainer == "ours" else "compute_loss_func"
    return gradient(case, batch_size, accumulation, trainer, lambda model: {name: loss_of(case, model), **options})


@each_model
def test_a_step_of_a_stock_model_is_the_plain_one_however_it_is_cut(case: Case) -> None:
    plain = gradient(case, 8, 1, "ours", {"loss": CrossEntropyLoss(shift=case.name in _DECODERS)})
    assert_same(step(case, 8, 1), plain)
    assert_same(step(case, 3, 3), plain)


def passed(loss: Loss, model: Any, *args: Any, **inputs: Any) -> Any:
    """What a model returns for the loss."""
    with loss.model_pass():
        return model(*args, **inputs)


def test_under_the_plain_trainer_nothing_would_be_saved_and_it_says_so() -> None:
    with pytest.raises(ValueError, match=r"returned logits, so that no memory is saved: train by nlpkit.Technique"):
        step(_BY_NAME["BertForMaskedLM"], 2, 4, "plain")


def test_a_model_has_logits_for_all_others_while_it_is_trained(tmp_path: Path) -> None:
    """``generate`` right after training, a callback between steps, and a forward pass of one's own."""
    case, seen = _BY_NAME["LlamaForCausalLM"], []
    model, ids = case.model(), torch.tensor([[5, 6, 7]])

    class Watching(TrainerCallback):
        def on_step_end(self, *args: Any, **others: Any) -> None:
            seen.append(model(ids).logits.shape[-1])

    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, use_cpu=True, report_to=[], disable_tqdm=True,
        save_strategy="no", learning_rate=1e-2,
    )  # fmt: skip
    TechniqueTrainer(
        model, arguments, train_dataset=case.rows(), data_collator=lambda rows: case.collate(rows, None),
        loss=loss_of(case, model), callbacks=[Watching()],
    ).train()  # fmt: skip
    assert model.training and seen == [40, 40]
    found = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert torch.equal(found, model.eval().generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None))


def test_a_pass_that_fails_leaves_logits_to_all_others() -> None:
    model = _BY_NAME["BertForMaskedLM"].model()
    loss = loss_of(_BY_NAME["BertForMaskedLM"], model)
    with pytest.raises(IndexError):
        passed(loss, model, torch.tensor([[999]]))
    assert model(torch.tensor([[5]])).logits.shape == (1, 1, 40)


def test_techniques_find_true_logits() -> None:
    case = _BY_NAME["BertForMaskedLM"]
    with_dropout = replace(case, model=stock("BertForMaskedLM", **small_config(hidden_dropout_prob=0.2)))
    for one, techniques in ((case, [FGM(0.5)]), (with_dropout, [RDrop(4.0)])):
        torch.manual_seed(1)
        found = step(one, 8, 1, techniques=techniques)
        torch.manual_seed(1)
        plain = gradient(one, 8, 1, "ours", {"loss": CrossEntropyLoss(), "techniques": techniques})
        assert_same(found, plain)


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that anything returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("name", ["BertForMaskedLM", "T5ForConditionalGeneration", "LlamaForCausalLM"])
def test_no_tensor_of_tokens_times_vocabulary_is_ever_made(name: str) -> None:
    case, vocabulary = _BY_NAME[name], 2000
    model = case.model()
    config = copy.deepcopy(model.config)
    config.vocab_size = vocabulary
    model = type(model)(config).train()
    batch = case.collate(case.rows(), 30)
    batch["labels"] = batch["input_ids"]
    logits = batch["labels"].numel() * vocabulary
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    if name.startswith("T5"):
        inputs["decoder_input_ids"] = batch["labels"]

    def largest(loss: Loss) -> int:
        with Largest() as seen:
            loss(passed(loss, model, **inputs), batch["labels"]).backward()
        return seen.elements

    assert largest(CrossEntropyLoss(shift=name in _DECODERS)) > 0.9 * logits
    weight = vocabulary * model.get_output_embeddings().in_features
    assert largest(loss_of(case, model)) <= max(weight, 3 * vocabulary) < logits / 4


@each_model
def test_in_evaluation_the_model_has_logits_and_the_loss_is_the_plain_one(case: Case) -> None:
    model = case.model().double().eval()
    batch = case.collate(case.rows(), None)
    loss = loss_of(case, model)
    inputs = loss.inputs_of(batch)
    if "T5" in case.name:
        inputs["decoder_input_ids"] = batch["input_ids"]
    with torch.no_grad():
        outputs = model(**inputs)
        plain = CrossEntropyLoss(shift=case.name in _DECODERS)(outputs, batch["labels"])
        assert torch.equal(loss(outputs, batch["labels"]), plain)
        hidden = passed(loss, model.train(), **inputs)
    assert hidden.logits.shape[-1] == model.get_output_embeddings().in_features
    torch.testing.assert_close(loss(hidden, batch["labels"]), plain, rtol=0, atol=1e-12)
    if not getattr(model.config, "scale_decoder_outputs", False):
        torch.testing.assert_close(loss.logits_of(hidden), outputs.logits, rtol=0, atol=1e-12)


def test_smoothing_masks_items_and_rows_without_labels() -> None:
    case = _BY_NAME["BertForMaskedLM"]
    model = case.model().double()
    batch = case.collate(case.rows(), None)
    chunked, plain = loss_of(case, model, label_smoothing=0.1), CrossEntropyLoss(label_smoothing=0.1)
    outputs = passed(chunked, model, **chunked.inputs_of(batch))
    logits, mask = chunked.logits_of(outputs), batch["input_ids"] % 2 == 0
    for options in ({}, {"mask": mask}, {"num_items_in_batch": torch.tensor(7)}):
        expected = plain(logits, batch["labels"], **options)
        torch.testing.assert_close(chunked(outputs, batch["labels"], **options), expected, rtol=0, atol=1e-12)
    nothing = chunked(outputs, torch.full_like(batch["labels"], -100))
    nothing.backward()
    assert nothing.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_the_models_weights_are_no_part_of_the_loss_and_its_files_stay(tmp_path: Path) -> None:
    case = _BY_NAME["BertForMaskedLM"]
    model = case.model()
    names, loss = list(model.state_dict()), loss_of(case, model)
    assert not list(loss.parameters()) and not loss.state_dict()
    assert list(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).train()
    ids = torch.tensor([[5, 6, 7]])
    assert again(ids).logits.shape == (1, 3, 40)
    assert torch.equal(again.eval()(ids).logits, model.eval()(ids).logits)
    for other in (copy.deepcopy(model), torch.load(_written(model), weights_only=False)):
        assert torch.equal(other.eval()(ids).logits, model(ids).logits)
    assert passed(loss, model.train(), ids).logits.shape == (1, 3, 16)
    loss.release()
    assert passed(loss, model, ids).logits.shape == (1, 3, 40)


def _written(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_a_trainer_evaluates_and_predicts_logits_between_its_steps(tmp_path: Path) -> None:
    case, shapes = _BY_NAME["BertForMaskedLM"], []
    model = case.model()

    def metrics(prediction: Any) -> dict[str, float]:
        shapes.append(prediction.predictions.shape[-1])
        return {"seen": 1.0}

    arguments = TrainingArguments(
        str(tmp_path), max_steps=4, eval_steps=2, eval_strategy="steps", logging_steps=2,
        per_device_train_batch_size=4, per_device_eval_batch_size=8,
        use_cpu=True, bf16=True, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    run = TechniqueTrainer(
        model, arguments, train_dataset=case.rows(), eval_dataset=case.rows(), loss=loss_of(case, model),
        data_collator=lambda rows: case.collate(rows, None), compute_metrics=metrics,
    )  # fmt: skip
    run.train()
    assert shapes == [40, 40]
    assert run.task_loss._dtype == torch.bfloat16  # the products of a model under autocast
    assert all(entry["loss"] == entry["loss"] for entry in run.state.log_history if "loss" in entry)


def test_wobert_and_a_bare_layer_are_taken_too() -> None:
    model = wobert("WoBertForMaskedLM")().double()
    ids = torch.tensor([[5, 6, 7]])
    expected = CrossEntropyLoss()(model(ids), ids)
    loss = ChunkedCrossEntropyLoss(model)
    torch.testing.assert_close(loss(passed(loss, model, ids), ids), expected, rtol=0, atol=1e-12)
    layer, states = nn.Linear(3, 7).double(), drawn(4, 3)
    labels = torch.tensor([0, 6, -100, 2])
    expected = CrossEntropyLoss()(layer(states), labels)
    loss = ChunkedCrossEntropyLoss(layer)
    torch.testing.assert_close(loss(passed(loss, layer, states), labels), expected, rtol=0, atol=1e-12)


_SMALL = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", ["Gemma2ForCausalLM", "CohereForCausalLM"])
def test_models_that_change_their_logits_later_are_refused_at_the_first_step(name: str) -> None:
    model = stock(name, **_SMALL)()
    ids = torch.tensor([[5, 6, 7]])
    loss = ChunkedCrossEntropyLoss(model, shift=True)
    with pytest.raises(ValueError, match=rf"{name} changes its logits after its output layer \(a scale, a cap"):
        passed(loss, model, ids)
    assert model(ids).logits.shape == (1, 3, 40)


def test_what_cannot_be_done_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"BartForConditionalGeneration adds final_logits_bias .*: use CrossEntropyLoss"
    ):
        ChunkedCrossEntropyLoss(_BY_NAME["BartForConditionalGeneration"].model())
    with pytest.raises(ValueError, match=r"runs its head at labelled positions \(config.sparse_prediction\)"):
        ChunkedCrossEntropyLoss(_BY_NAME["ModernBertForMaskedLM-sparse"].model())
    with pytest.raises(
        ValueError, match=r"output layer of BertForTokenClassification is a NoneType, not an nn.Linear"
    ):
        ChunkedCrossEntropyLoss(_BY_NAME["BertForTokenClassification"].model())
    with pytest.raises(
        ValueError, match=r"as many outputs as inputs, 4: hidden states and logits cannot be told apart"
    ):
        ChunkedCrossEntropyLoss(nn.Linear(4, 4))
    layer = nn.Linear(3, 5)
    loss = ChunkedCrossEntropyLoss(layer)
    loss.release()
    with pytest.raises(ValueError, match=r"in training mode and returned logits, so that no memory is saved"):
        loss(layer(torch.zeros(2, 3)), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("labels", "chunk", "message"),
    [
        (torch.tensor([0, 6]), 2, r"labels hold 6, but the weight is for 6 classes: give 0 to 5, or -100"),
        (torch.tensor([0, -1]), 2, r"labels hold -1, "),
        (torch.tensor([0]), 2, r"shape \(2, 3\), a weight of shape \(6, 3\) and labels of shape \(1,\) do not fit"),
        (torch.tensor([0, 1]), 0, r"chunk=0: give a whole number at least 1"),
    ],
)
def test_what_does_not_fit_is_named(labels: Tensor, chunk: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chunked_cross_entropy(drawn(2, 3), drawn(6, 3), labels, chunk=chunk)


def _in_one_of_two(rank: int, name: str, folder: str) -> None:
    """Half of the rows in a process of data parallelism, which looks for parameters that a model did not use."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    case = _BY_NAME[name]
    model = case.model().double()
    loss = loss_of(case, model)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    whole, rows = case.collate(case.rows(), None), case.rows()[4 * rank : 4 * rank + 4]
    batch = case.collate(rows, None)
    items = loss.items(whole["labels"])
    (2 * loss.average(passed(loss, parallel, **loss.inputs_of(batch)), batch["labels"], items)).backward()
    if rank == 0:
        torch.save({key: p.grad for key, p in model.named_parameters()}, f"{folder}/gradients")
    del parallel  # where it goes with the group's last reference, torch 2.13 waits for a thread that waits for the GIL
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BertForMaskedLM", "LlamaForCausalLM"])
def test_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_in_one_of_two, (name, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    case = _BY_NAME[name]
    model = case.model().double()
    batch = case.collate(case.rows(), None)
    loss = CrossEntropyLoss(shift=name in _DECODERS)
    loss(model(**loss.inputs_of(batch)), batch["labels"]).backward()
    expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    found = torch.load(tmp_path / "gradients")
    assert_same({key: found[key] for key in expected}, expected)
