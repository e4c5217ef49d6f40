"""Training from losses alone: the estimate, weights that come back to the bit, and steps however they are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlpkit.losses import CenterLoss, ChunkedCrossEntropyLoss, CrossEntropyLoss, Loss
from nlpkit.training import FGM, Flooding, LayerRates, MeZO, Technique, Unfreezing, WeightScaleInvariant
from nlpkit.training.weights.directions import CHUNK, MovedReads, direction, moved
from nlpkit.training.weights.mezo import projected_gradient
from tests.contract.cases import pad_tokens, small_config, tagged_rows
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS, stock
from tests.contract.test_stock_heads import assert_same
from tests.optimizers.small_models import MODELS, small_model
from tests.training.runs import same_weights, trainer, whole_and_resumed
from tests.training.runs import small_model as small_bert

CASE = next(case for case in HEADS if case.name == "BertForTokenClassification")


def drawn(size: int, count: int) -> Tensor:
    """Directions, one a row."""
    like = torch.zeros(size, dtype=torch.float64)
    return torch.stack([next(direction(like, (0, number)))[1] for number in range(count)])


def test_directions_are_standard_normal_and_made_again() -> None:
    draws = drawn(5, 20_000)
    assert draws.mean(0).abs().max() < 5 / 20_000**0.5
    assert (draws.T @ draws / 20_000 - torch.eye(5)).abs().max() < 10 / 20_000**0.5
    long = torch.zeros(CHUNK + 7)
    first, again = ([numbers for _, numbers in direction(long, (1, 2))] for _ in range(2))
    assert [len(numbers) for numbers in first] == [CHUNK, 7]
    assert all(map(torch.equal, first, again)) and not torch.equal(first[0][:7], first[1])


def test_the_estimate_is_the_gradient_of_a_quadratic_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    theta = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(weights: Tensor) -> Tensor:
        return (weights @ matrix).square().sum(-1)

    (expected,) = torch.autograd.grad(loss(theta), theta)
    z = drawn(5, 20_000)
    found = projected_gradient(loss(theta + 0.1 * z), loss(theta - 0.1 * z), 0.1)[:, None].detach() * z
    error = found.std(0) / len(z) ** 0.5
    assert ((found.mean(0) - expected).abs() < 4.5 * error).all()
    assert (error < 0.1 * expected.norm()).all()


def test_the_estimate_is_reinforce_over_weights() -> None:
    """For a Gaussian policy of deviation epsilon, averaged over a direction and its opposite."""
    theta, z, epsilon = torch.randn(5, dtype=torch.float64), drawn(5, 7), 0.3
    policy = torch.distributions.Normal(theta.requires_grad_(), epsilon)

    def cost(weights: Tensor) -> Tensor:
        return (weights > 0).double().sum(-1)  # without a gradient

    for row in z:
        sides = [(theta + sign * epsilon * row).detach() for sign in (1, -1)]
        surrogate = sum(cost(side) * policy.log_prob(side).sum() for side in sides) / 2
        (reinforce,) = torch.autograd.grad(surrogate, theta)
        slope = projected_gradient(cost(sides[0]), cost(sides[1]), epsilon)
        torch.testing.assert_close(slope * row, reinforce, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_weights_are_moved_while_they_are_used_and_come_back_to_the_bit(name: str, dtype: torch.dtype) -> None:
    """All of them at once, and each by the module that runs with it, give one output."""
    model = small_model(name).eval().to(dtype)
    ids = {"input_ids": torch.tensor([[5, 7, 5, 9]])}
    if "t5" in name:
        ids["decoder_input_ids"] = ids["input_ids"]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    reads = MovedReads({parameter: number for number, parameter in enumerate(model.parameters())}, (3,), 0.1)
    with torch.no_grad(), reads:
        found = model(**ids).logits
    assert reads.read == set(model.parameters())
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    for number, parameter in enumerate(model.parameters()):
        parameter.data = moved(parameter, (3, number), 0.1)
    with torch.no_grad():
        assert torch.equal(model(**ids).logits, found)
    assert not any(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_weights_are_moved_wherever_they_are_read() -> None:
    """By views and aliases made before too, as recurrent layers have them, and by rows of a table."""
    layer, table = nn.Linear(2, 3).double(), nn.Embedding(5, 2).double()
    numbers = {layer.weight: 0, table.weight: 1}
    expected, rows = moved(layer.weight, (3, 0), 0.1), moved(table.weight, (3, 1), 0.1)
    alias, view = layer.weight.data, layer.weight.detach()[1:].T
    ids = torch.tensor([[4, 1], [4, 4]])
    before = [layer.weight.detach().clone(), table.weight.detach().clone()]
    reads = MovedReads(numbers, (3,), 0.1)
    with reads:
        found = [layer.weight * 1, alias * 1, view * 1, torch.stack([layer.weight, layer.weight])[1], table(ids)]
        transposed = layer.weight.T
        assert torch.equal(table.weight.to(torch.float32), rows.float())
    for value, wanted in zip(found, [expected, expected, expected[1:].T, expected, rows[ids]], strict=True):
        assert torch.equal(value, wanted)
    assert torch.equal(transposed, expected.T)
    assert reads.read == numbers.keys() and all(map(torch.equal, numbers, before))


def test_weights_that_are_written_to_are_refused() -> None:
    table = nn.Embedding(5, 2, max_norm=0.1)
    before = table.weight.detach().clone()
    with (
        pytest.raises(ValueError, match=r"aten.embedding_renorm_.* writes to a trained weight of shape \(5, 2\)"),
        MovedReads({table.weight: 0}, (3,), 0.1),
    ):
        table(torch.tensor([1]))
    assert torch.equal(table.weight, before)


def test_a_pass_that_fails_leaves_the_weights(tmp_path: Path) -> None:
    def failing(outputs: Any, labels: Tensor, num_items_in_batch: Any) -> Tensor:
        raise RuntimeError("no memory")

    run = trainer(tmp_path, [MeZO()], options={"loss": failing})
    with pytest.raises(RuntimeError, match="no memory"):
        run.train()
    assert same_weights(run.model, small_bert())
    assert all(parameter.requires_grad for parameter in run.model.parameters())


def estimate(batch_size: int, accumulation: int, **settings: Any) -> dict[str, Tensor]:
    return gradient(CASE, batch_size, accumulation, "ours", {"techniques": [MeZO(**settings)]})


def test_accumulated_steps_equal_one_large_batch() -> None:
    whole = estimate(8, 1, directions=2)
    assert_same(estimate(2, 4, directions=2), whole)
    assert_same(estimate(3, 3, directions=2), whole)


def test_a_step_follows_the_gradient_along_its_directions() -> None:
    true, found = gradient(CASE, 8, 1, "ours"), estimate(8, 1, epsilon=1e-5)
    names = [name for name, _ in CASE.model().named_parameters()]
    z = {name: torch.cat([n for _, n in direction(true[name], (42, 0, 0, i))]) for i, name in enumerate(names)}
    slope = sum((true[name].flatten() * z[name]).sum() for name in names)
    for name in names:
        torch.testing.assert_close(found[name].flatten(), slope * z[name], rtol=0, atol=1e-6)


def test_both_sides_have_the_same_dropout() -> None:
    """Or else their difference, divided by so small a step, would be huge."""
    case = replace(CASE, model=stock("BertForTokenClassification", **small_config(hidden_dropout_prob=0.3)))
    found = gradient(case, 2, 4, "ours", {"techniques": [MeZO(epsilon=1e-8)]})
    assert 1e-3 < max(tensor.abs().max() for tensor in found.values()) < 100


def test_clipping_optimizers_schedules_and_resuming(tmp_path: Path) -> None:
    settings = {"max_grad_norm": 0.1, "optim": "adamw_torch", "weight_decay": 0.1, "learning_rate": 1e-3}

    def dropout() -> Any:
        return small_bert(hidden_dropout_prob=0.1)

    whole, again = whole_and_resumed(tmp_path, lambda: [MeZO()], model=dropout, **settings)
    assert same_weights(whole.model, again.model)
    assert not same_weights(whole.model, dropout())
    assert not whole.optimizer.state_dict()["state"]
    assert all(parameter.grad is None for parameter in whole.model.parameters())


def wrong_tokens(outputs: Any, labels: Tensor, num_items_in_batch: Any) -> Tensor:
    """The share of tokens that get another class than their own: no gradient."""
    wrong = (outputs.logits.argmax(-1) != labels) & (labels != -100)
    return wrong.sum().float() / num_items_in_batch


def test_a_loss_without_gradient_is_learnt(tmp_path: Path) -> None:
    run = trainer(
        tmp_path, [MeZO(epsilon=0.05, directions=8)], steps=60, options={"loss": wrong_tokens}, learning_rate=0.01,
        per_device_train_batch_size=8, optim="sgd", lr_scheduler_type="constant",
    )  # fmt: skip
    before = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < before - 0.15


def test_weights_in_bf16_do_not_drift(tmp_path: Path) -> None:
    model = small_bert().bfloat16()
    run = trainer(tmp_path, [MeZO()], model, steps=5, learning_rate=0.0)
    run.train()
    assert same_weights(run.model, small_bert().bfloat16())


def test_with_lora_only_the_adapters_move(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(small_bert(), peft.LoraConfig(target_modules=["query"]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer(tmp_path, [MeZO(0.01)], model, learning_rate=0.1).train()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "lora_" in name}


def test_with_lora_on_embeddings_they_move_too(tmp_path: Path) -> None:
    """Their factors are held by a module that never runs."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(small_bert(), peft.LoraConfig(target_modules=["word_embeddings"]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer(tmp_path, [MeZO(0.01)], model, learning_rate=0.1).train()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "lora_embedding_" in name} and len(moved) == 2


def slope(model: Any, loss: Loss, names: dict[str, Any], epsilon: float = 1e-5) -> float:
    """How the loss of the first two rows changes when all parameters move, without MeZO's ways of moving them."""
    batch = pad_tokens(tagged_rows()[:2], None)
    items = {name: count.clamp(min=1) for name, count in loss.items_of(batch).items()}
    sides = []
    for length in (epsilon, -epsilon):
        before = [parameter.detach().clone() for parameter in names.values()]
        for number, parameter in enumerate(names.values()):
            parameter.data = moved(parameter, (42, 0, 0, number), length)
        with torch.enable_grad(), loss.model_pass():
            terms = loss.terms(model(**loss.inputs_of(batch)), batch, items)
        sides.append(sum(term.item() for term in terms.values()))
        for parameter, value in zip(names.values(), before, strict=True):
            parameter.data = value
    return (sides[0] - sides[1]) / (2 * epsilon)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: CrossEntropyLoss(),
        lambda model: ChunkedCrossEntropyLoss(model.classifier),
        lambda model: CenterLoss(CrossEntropyLoss(), 5, 16, weight=5.0, momentum=None),
    ],
)
def test_a_step_follows_the_loss_whatever_that_reads(tmp_path: Path, make: Any) -> None:
    """Weights of the model outside a module's run, and parameters of its own, which move as the model's do."""
    model = small_bert(num_labels=5).double()
    loss = make(model).double()
    names = {**dict(model.named_parameters()), **{f"loss.{name}": p for name, p in loss.named_parameters()}}
    expected = slope(model.train(), loss, names)
    before = {name: parameter.detach().clone() for name, parameter in names.items()}
    trainer(
        tmp_path, [MeZO(1e-5)], model, steps=1, options={"loss": loss}, learning_rate=0.1, optim="sgd",
        lr_scheduler_type="constant", train_sampling_strategy="sequential", remove_unused_columns=False,
    ).train()  # fmt: skip
    for number, (name, parameter) in enumerate(names.items()):
        z = torch.cat([numbers for _, numbers in direction(parameter, (42, 0, 0, number))]).view_as(parameter)
        torch.testing.assert_close((before[name] - parameter.detach()) / 0.1, expected * z, rtol=1e-4, atol=1e-6)


def test_penalties_on_weights_and_losses_that_look_back_are_followed(tmp_path: Path) -> None:
    def trained(loss: Any = None, *techniques: Technique) -> Any:
        run = trainer(tmp_path, [MeZO(), *techniques], options={"loss": loss}, learning_rate=1e-3, steps=2)
        run.train()
        return run.model

    plain = trained()
    assert not same_weights(plain, trained(None, WeightScaleInvariant(5.0, parameters=["classifier.weight"])))
    center = CenterLoss(CrossEntropyLoss(), 5, 16, weight=5.0)
    assert not same_weights(plain, trained(center))
    assert (center.sums.done[:, -1] > 0).any()  # type: ignore[union-attr]


def test_blocks_that_are_not_let_in_stay(tmp_path: Path) -> None:
    run = trainer(tmp_path, [MeZO(), Unfreezing(0.5, "training")], steps=2, learning_rate=0.1)
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.train()
    moved = {name for name, parameter in run.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in before if "classifier" in name or "layer.1" in name}


def test_without_weight_it_is_not_there() -> None:
    off = MeZO()
    off.weight = 0.0
    found, plain = gradient(CASE, 2, 4, "ours", {"techniques": [off]}), gradient(CASE, 2, 4, "ours")
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"MeZO: epsilon=0: give a finite number above 0"):
        MeZO(0)
    with pytest.raises(ValueError, match=r"MeZO takes no gradients: FGM cannot act beside it"):
        trainer(tmp_path, [FGM(), MeZO()])
    for per in ("step", "instance", "micro-batch"):
        with pytest.raises(
            ValueError, match=r"Flooding cannot act beside it, since it acts on gradients or on the pas"
        ):
            trainer(tmp_path, [Flooding(0.1, per=per), MeZO()])  # type: ignore[arg-type]
    model = small_bert()
    model.unused = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"computed without unused.weight, unused.bias: set requires_grad_"):
        trainer(tmp_path, [MeZO()], model).train()


def test_each_weight_moves_by_the_rate_of_its_layer(tmp_path: Path) -> None:
    moves = []
    technique = LayerRates(decay=0.5, head_rate=0.3)
    for beside in ([], [technique]):
        model = small_bert().double()
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        settings = {"lr_scheduler_type": "constant", "learning_rate": 0.1, "weight_decay": 0.0}
        trainer(tmp_path, [MeZO(), *beside], model, steps=1, **settings).train()
        moves.append({name: parameter.detach() - before[name] for name, parameter in model.named_parameters()})
    plain, layered = moves
    assert len(set(technique.rates.values())) == 4
    for name, rate in technique.rates.items():
        torch.testing.assert_close(layered[name], plain[name] * rate / 0.1, rtol=0, atol=1e-12)
        assert plain[name].abs().max() > 1e-4


def test_a_weight_in_transposed_storage_moves_as_any_other(tmp_path: Path) -> None:
    trained = []
    for transposed in (False, True):
        model = small_bert()
        if transposed:
            for weight in (model.classifier.weight, model.bert.embeddings.word_embeddings.weight):
                weight.data = weight.data.t().contiguous().t()
        run = trainer(tmp_path, [MeZO()], model, learning_rate=0.01)
        run.train()
        trained.append(model)
    assert same_weights(*trained)
