"""Amos: an Adam whose weight decay and learning rate follow from the scale that each tensor is to reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from nlpkit.checked_number import checked_number

#: The smallest mean square of a gradient that is divided by.
EPSILON = 2.0**-125


def amos_update(
    theta: Tensor,
    gradient: Tensor,
    v: Tensor,
    b: Tensor,
    *,
    step: int,
    lr: float,
    eta: float,
    beta: float = 0.999,
    zeta: float = 0.25,
    extra_l2: float = 0.0,
) -> Tensor:
    """What a step of Amos subtracts from a tensor; the slots are updated in place.

    Source: arXiv 2210.11693, algorithm 1, as google-research/jestimator computes it: with ``g2`` the mean of the
    squared gradient over what shares a slot, ``v`` its running mean and ``r = (1 - beta^step) / v``,
    ``gamma = lr^2 r g2 / sqrt(1 + zeta sqrt(lr) b)``, the tensor changes by
    ``-((gamma / 2 + extra_l2) theta + lr eta sqrt(r) g) / (1 + zeta sqrt(lr eta) b)``, and ``b`` by ``gamma (1 + b)``.

    Args:
        theta: in fp32 or better.
        gradient: of the same shape and type.
        v: running mean of the squared gradient; of size 1 along the axes that share a slot.
        b: how far the rates have decayed, of the same shape.
        step: from 1.
        lr: about ``1 / sqrt(batches in the data)``.
        eta: the scale that the entries are to reach.
        beta: of the running mean.
        zeta: how fast rates decay.
        extra_l2: further weight decay.

    Returns:
        Shape of ``theta``.

    Example:
        >>> one = torch.ones(1)
        >>> amos_update(one, one, torch.zeros(1), torch.zeros(1), step=1, lr=0.1, eta=0.5)
        tensor([0.0550])
    """
    shared = [axis for axis in range(theta.dim()) if v.shape[axis] == 1]
    g2 = gradient.square().mean(dim=shared, keepdim=True) if shared else gradient.square()
    v.mul_(beta).add_(g2, alpha=1 - beta)
    r = (1 - beta**step) / v.clamp(min=EPSILON)
    gamma = (1 + zeta * math.sqrt(lr) * b).rsqrt() * lr**2 * r * g2
    rate_decay = 1 + zeta * math.sqrt(lr * eta) * b
    b.add_(gamma * (1 + b))
    return ((gamma / 2 + extra_l2) / rate_decay) * theta + (lr * eta * r.sqrt() / rate_decay) * gradient


class Amos(Optimizer):
    """An optimizer that needs no schedule and no weight decay: both follow from the scale of each tensor.

    Source: arXiv 2210.11693; see ``amos_update``.

    Args:
        params: groups as ``amos_param_groups(model)`` makes them: each has an ``"eta"`` and a ``"slot_axis"``.
        lr: the global learning rate, about ``1 / sqrt(batches in the data)``.
        beta: of the running mean of squared gradients; ``1 - beta`` is best of the order of ``lr``.
        zeta: how fast rates decay.
        momentum: of an optional running mean of updates, which costs memory of the size of the model.
        clip_value: gradients are cut to this interval around 0 first; ``None`` means they are not.
        extra_l2: further weight decay, of each step.

    Raises:
        ValueError: a group has no ``"eta"``, or has weight decay; or a setting is out of range.

    Note:
        Beside ``momentum``, two numbers a slot are kept, in fp32 or better whatever the model's type: a row of an
        embedding or an output of a matrix has one. Leave the schedule constant, after a warm-up if there is one
        (``lr_scheduler_type="constant_with_warmup"``), and clip by norm as usual. With ``Trainer``:
        ``optimizer_cls_and_kwargs=(Amos, {"params": amos_param_groups(model), "lr": 0.01})``. Weights in bf16 lose
        small updates by rounding, here as with any optimizer: train weights of fp32 under autocast.

    Example:
        >>> from nlpkit.optimizers import amos_param_groups
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = Amos(amos_param_groups(model), lr=0.01)
        >>> model(torch.ones(1, 4)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[model.weight]["v"].shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        beta: float = 0.999,
        zeta: float = 0.25,
        momentum: float = 0.0,
        clip_value: float | None = None,
        extra_l2: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "beta": beta, "zeta": zeta, "momentum": momentum, "clip_value": clip_value}
        super().__init__(params, defaults | {"extra_l2": extra_l2})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, which must have an ``"eta"``; without ``"slot_axis"`` each tensor has one slot."""
        if "eta" not in param_group:
            raise ValueError(
                "Amos must know the scale of each tensor: give it amos_param_groups(model), not parameters; with a "
                'Trainer optimizer_cls_and_kwargs=(Amos, {"params": amos_param_groups(model), "lr": 0.01}); and for '
                'parameters of a loss groups of their own, {"params": [loss.threshold], "eta": 0.5}'
            )
        if param_group.get("weight_decay"):
            raise ValueError(
                f"Amos decays weights by itself: weight_decay={param_group['weight_decay']} must be 0; see extra_l2="
            )
        settings = self.defaults | param_group
        for name in ("lr", "zeta", "extra_l2"):
            checked_number(f"Amos: {name}", settings[name], least=0)
        for name in ("beta", "momentum"):
            checked_number(f"Amos: {name}", settings[name], least=0, below=1)
        checked_number("Amos: eta", settings["eta"], above=0)
        if settings["clip_value"] is not None:
            checked_number("Amos: clip_value", settings["clip_value"], above=0)
        super().add_param_group({"slot_axis": None, **param_group})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; returns the loss that ``closure`` computes again, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)
        return loss

    def _step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        if gradient is None or gradient.is_sparse:
            raise RuntimeError("Amos takes no sparse gradients: make the embedding with sparse=False")
        wide = torch.promote_types(parameter.dtype, torch.float32)
        gradient, theta = gradient.to(wide), parameter.to(wide)
        if group["clip_value"] is not None:
            gradient = gradient.clamp(-group["clip_value"], group["clip_value"])
        state = self.state[parameter]
        if not state:
            slots = slot_shape(parameter.shape, group["slot_axis"])
            state["step"] = 0
            state["v"], state["b"] = theta.new_zeros(slots), theta.new_zeros(slots)
        state["step"] += 1
        settings = {name: group[name] for name in ("lr", "eta", "beta", "zeta", "extra_l2")}
        update = amos_update(theta, gradient, state["v"], state["b"], step=state["step"], **settings)
        if group["momentum"] > 0:
            mean = state.setdefault("momentum", torch.zeros_like(update))
            update = mean.lerp_(update, 1 - group["momentum"])
        parameter.copy_(theta - update)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; slots keep their type, which torch would make the parameters'."""
        super().load_state_dict(state_dict)
        saved = [place for group in state_dict["param_groups"] for place in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for place, parameter in zip(saved, parameters, strict=True):
            for name, value in state_dict["state"].get(place, {}).items():
                if isinstance(value, Tensor):
                    self.state[parameter][name] = value.to(parameter.device, copy=True)


def slot_shape(shape: torch.Size, slot_axis: int | None) -> list[int]:
    """The shape of a tensor's slots: of its own size along one axis, if it has more than one, and 1 elsewhere."""
    return [size if axis == slot_axis and len(shape) > 1 else 1 for axis, size in enumerate(shape)]
