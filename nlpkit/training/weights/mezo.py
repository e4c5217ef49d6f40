"""MeZO: fine-tuning without a backward pass, from how the loss changes in random directions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.precision import refuse_scaled_gradients
from nlpkit.training.random_state import RandomState
from nlpkit.training.technique import Batch, Host, Items, Run, Technique
from nlpkit.training.weights.directions import MovedReads, direction


def projected_gradient(above: Tensor, below: Tensor, epsilon: float) -> Tensor:
    """The slope of a loss along a direction, from its values on both sides.

    Source: arXiv 2305.17333, definition 1: times the direction, it is an unbiased estimate of the gradient of the
    loss smoothed by Gaussian noise of ``epsilon`` on the weights, and equals REINFORCE for a Gaussian policy over
    weights, averaged over a direction and its opposite (kexue.fm/archives/7737).

    Args:
        above: losses at ``weights + epsilon * direction``, any shape.
        below: losses at ``weights - epsilon * direction``, the same shape.
        epsilon: length of the step.

    Returns:
        Of the same shape.

    Example:
        >>> projected_gradient(torch.tensor(4.0), torch.tensor(1.0), 0.5)
        tensor(3.)
    """
    return (above - below) / (2 * epsilon)


class MeZO(Technique):
    """Train with two forward passes a batch and no backward pass, in the memory of inference.

    Source: arXiv 2305.17333 (SPSA with directions made again from their seeds). All micro-batches and processes of an
    optimizer step try the same directions, and their losses, each divided by the items of the step, add up.

    Args:
        epsilon: how far weights are moved to try a direction.
        directions: tried in each step; their estimates are averaged.

    Raises:
        ValueError: ``epsilon`` or ``directions`` is not positive; another technique wraps the passes of a batch,
            or turns gradients round (``Flooding``, per instance too: the values of the loss stay as they are); the
            loss is computed without a trained parameter, or writes to one; or gradients are scaled (fp16).

    Note:
        Beside inference it holds a moved copy of the weight that is being read (of an embedding, of the rows that
        are looked up), and 2^20 random numbers. The weights themselves are written to once a step: nothing drifts, in
        any type. What is moved are all parameters that the optimizer has, those of the loss included, whoever reads
        them: a module, a loss or a penalty. The passes run as in training, but without a graph: losses that look back
        at their training do so, and take each pass for a batch. The losses on both sides see the same dropout.

        The weights move by the learning rates and the weight decay of the optimizer's groups, by plain SGD: the
        optimizer itself has no gradients and does nothing; ``optim="sgd"`` has no state. Rates are much lower than
        AdamW's: 1e-6 for the whole of a large model, 1e-4 with LoRA, where only the adapters are moved. It takes many
        times as many steps; its use is memory, and losses without a gradient. Weights in bf16 lose small updates.

    Example:
        >>> MeZO(epsilon=1e-3, directions=4).name
        'mezo'
    """

    def __init__(self, epsilon: float = 1e-3, directions: int = 1) -> None:
        self.epsilon = checked_number("MeZO: epsilon", epsilon, above=0)
        self.directions = checked_number("MeZO: directions", directions, least=1, whole=True)
        self._slopes: Tensor | None = None  # of the step that is running, one a direction, of this process

    @property
    def name(self) -> str:
        """``"mezo"``."""
        return "mezo"

    def prepare(self, trainer: Host) -> None:
        """Refuses what wants gradients."""
        host: Any = trainer
        self._trainer = host
        refuse_scaled_gradients(
            "MeZO", host, "it makes no gradients, and the scaler needs some; train in fp32 or bf16"
        )
        for other in host.techniques:
            wraps = type(other).step is not Technique.step or other.joins_micro_batches
            if wraps and other is not self:
                raise ValueError(
                    f"MeZO takes no gradients: {type(other).__name__} cannot act beside it, since it acts on "
                    "gradients or on the passes that make them, not on the value of the loss"
                )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Number the parameters that the optimizer has: the model's, and behind them those of the loss."""
        given = [parameter for group in kwargs["optimizer"].param_groups for parameter in group["params"]]
        self._names = {p: name for name, p in kwargs["model"].named_parameters() if p in set(given)}
        for parameter in given:
            self._names.setdefault(parameter, f"a parameter of the loss, of shape {tuple(parameter.shape)}")
        self._numbers = {parameter: number for number, parameter in enumerate(self._names)}
        self._state = state
        self._slopes = None

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """Two forward passes for each direction; returns the mean of their losses."""
        model.train()
        slopes, losses = [], []
        drawn = RandomState()
        trained = {parameter: number for parameter, number in self._numbers.items() if parameter.requires_grad}
        for number in range(self.directions):
            sides = []
            for length in (self.epsilon, -self.epsilon):
                drawn.again()
                reads = MovedReads(trained, self._seed(number), length)
                with _without_graph(model, [*model.parameters(), *trained]), reads:
                    sides.append(run.loss(batch).detach())
                self._refuse_unread(trained.keys() - reads.read)
            above, below = (at_least_fp32(side) for side in sides)
            slopes.append(projected_gradient(above, below, self.epsilon))
            losses += [above, below]
        found = torch.stack(slopes)
        self._slopes = found if self._slopes is None else self._slopes + found
        return torch.stack(losses).mean() * self._trainer.args.world_size

    def _seed(self, number: int) -> tuple[int, int, int]:
        return self._trainer.args.seed, self._state.global_step, number

    def _refuse_unread(self, unread: Collection[nn.Parameter]) -> None:
        if unread:
            names = [name for parameter, name in self._names.items() if parameter in unread]
            raise ValueError(
                f"MeZO: the loss was computed without {', '.join(names)}: set requires_grad_(False) on what is not to "
                "be trained"
            )

    @torch.no_grad()
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the weights."""
        if self._slopes is None:
            return
        slopes = self._trainer.accelerator.reduce(self._slopes, "sum") / self.directions
        self._slopes = None
        rates = {p: group for group in kwargs["optimizer"].param_groups for p in group["params"] if p.requires_grad}
        for parameter, group in rates.items():
            number, flat = self._numbers[parameter], parameter.detach().flatten()  # a copy, of transposed storage
            shrink = 1 - group["lr"] * group.get("weight_decay", 0.0)
            draws = (direction(parameter, (*self._seed(place), number)) for place in range(self.directions))
            for pieces in zip(*draws, strict=True):
                place = pieces[0][0]
                move = sum(slope * numbers for slope, (_, numbers) in zip(slopes, pieces, strict=True))
                flat[place] = at_least_fp32(flat[place]) * shrink - group["lr"] * move
            if not parameter.is_contiguous():
                parameter.detach().copy_(flat.view_as(parameter))


@contextmanager
def _without_graph(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Passes are those of training, in which nothing has a gradient, so that no graph is kept."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with model.no_sync() if hasattr(model, "no_sync") else nullcontext():  # type: ignore[operator]
            yield  # DistributedDataParallel would wait for gradients
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
