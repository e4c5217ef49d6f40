"""MeZO: fine-tuning without a backward pass, from how the loss changes in random directions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.losses.loss import at_least_fp32
from nlpkit.optimizers.blocks import owners
from nlpkit.training.technique import Batch, Host, Items, Run, Technique
from nlpkit.training.weights.directions import direction, moved_while_used


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
        ValueError: ``epsilon`` or ``directions`` is not positive; another technique wraps the passes of a batch, or
            a loss has parameters; or a trained parameter is not used by the module that holds it.

    Note:
        Beside inference it holds a copy of the weights of the module that is running (of an embedding, of the rows
        that are looked up), and 2^20 random numbers. A module runs with its weights moved and gets the very same
        weights back, to the bit, in any type: nothing drifts. Weights must be read by running the module that holds
        them, as in all models of transformers. The losses on both sides see the same dropout.

        The weights move by the learning rates and the weight decay of the optimizer's groups, by plain SGD: the
        optimizer itself has no gradients and does nothing; ``optim="sgd"`` has no state. Rates are much lower than
        AdamW's: 1e-6 for the whole of a large model, 1e-4 with LoRA, where only the adapters are moved. It takes many
        times as many steps; its use is memory, and losses without a gradient. Weights in bf16 lose small updates.

    Example:
        >>> MeZO(epsilon=1e-3, directions=4).name
        'mezo'
    """

    def __init__(self, epsilon: float = 1e-3, directions: int = 1) -> None:
        if epsilon <= 0 or directions < 1:
            raise ValueError(f"MeZO: epsilon={epsilon} must be positive, and directions={directions} at least 1")
        self.epsilon, self.directions = epsilon, directions
        self._slopes: Tensor | None = None  # of the step that is running, one a direction, of this process

    @property
    def name(self) -> str:
        """``"mezo"``."""
        return "mezo"

    def prepare(self, trainer: Host) -> None:
        """Refuses what wants gradients."""
        host: Any = trainer
        self._trainer = host
        for other in host.techniques:
            wraps = type(other).step is not Technique.step or other.joins_micro_batches
            if wraps and other is not self and self.active:
                raise ValueError(f"MeZO takes no gradients: {type(other).__name__} cannot act beside it")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Number the trained parameters, and find the modules that use them."""
        model = kwargs["model"]
        self._numbers = {parameter: number for number, (_, parameter, _) in enumerate(owners(model))}
        self._names = [name for name, _, _ in owners(model)]
        self._units = _units(model)
        self._state = state
        self._slopes = None

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """Two forward passes for each direction; returns the mean of their losses."""
        model.train()
        slopes, losses = [], []
        random = _RandomState(self._trainer.args.device)
        for number in range(self.directions):
            sides = []
            for length in (self.epsilon, -self.epsilon):
                random.restore()
                used: set[int] = set()
                with torch.no_grad(), moved_while_used(self._units, self._seed(number), length, used):
                    sides.append(run.loss(batch).detach())
                self._refuse_unused(used)
            above, below = (at_least_fp32(side) for side in sides)
            slopes.append(projected_gradient(above, below, self.epsilon))
            losses += [above, below]
        found = torch.stack(slopes)
        self._slopes = found if self._slopes is None else self._slopes + found
        return torch.stack(losses).mean() * self._trainer.args.world_size

    def _seed(self, number: int) -> tuple[int, int, int]:
        return self._trainer.args.seed, self._state.global_step, number

    def _refuse_unused(self, used: set[int]) -> None:
        if unused := [name for number, name in enumerate(self._names) if number not in used]:
            raise ValueError(
                f"MeZO: the loss was computed without running what holds {', '.join(unused)}: set "
                "requires_grad_(False) on what is not to be trained"
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
        rates = {p: group for group in kwargs["optimizer"].param_groups for p in group["params"]}
        if strange := [tuple(parameter.shape) for parameter in rates if parameter not in self._numbers]:
            raise ValueError(
                f"MeZO moves the model's parameters only; the optimizer has others, of shape {strange[0]}"
            )
        for parameter, group in rates.items():
            number, flat = self._numbers[parameter], parameter.detach().view(-1)
            shrink = 1 - group["lr"] * group.get("weight_decay", 0.0)
            draws = (direction(parameter, (*self._seed(place), number)) for place in range(self.directions))
            for pieces in zip(*draws, strict=True):
                place = pieces[0][0]
                move = sum(slope * numbers for slope, (_, numbers) in zip(slopes, pieces, strict=True))
                flat[place] = at_least_fp32(flat[place]) * shrink - group["lr"] * move


def _units(model: nn.Module) -> dict[nn.Module, list[tuple[nn.Parameter, int]]]:
    """Trained parameters, each with its number, by the modules that hold them and run with them."""
    units: dict[nn.Module, list[tuple[nn.Parameter, int]]] = {}
    for number, (_, parameter, modules) in enumerate(owners(model)):
        for module in modules:
            units.setdefault(module, []).append((parameter, number))
    return units


class _RandomState:
    """Where the random numbers of this process stood, so that dropout can be the same again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
