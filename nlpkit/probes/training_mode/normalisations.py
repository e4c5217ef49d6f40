"""What a model's normalisations divide by in training, and how fast batch norm forgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import inf, log
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from nlpkit.checked_number import checked_number
from nlpkit.probes.training_mode.passes import kind_of_place, training_copy

_SHARES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class BatchStatistics:
    """How batch norm's running statistics follow the batches.

    Attributes:
        numbers: of which a mean is taken in one micro-batch; its error is one over their root.
        momentum: share of a micro-batch in the running statistics; 0 where all batches count alike, or none.
        momentum_per_step: of all micro-batches of an optimizer's step together.
        half_life: optimizer steps until half of the running statistics is new.
        shift: how far this batch's means are from the running ones, in running deviations: the root of the mean
            square over features. 0 where nothing is tracked.
    """

    numbers: int
    momentum: float
    momentum_per_step: float
    half_life: float
    shift: float


@dataclass(frozen=True)
class NormalisationUse:
    """A normalisation, or all of one kind in a model's layers.

    Attributes:
        place: the module, ``*`` for any layer.
        kind: name of its class.
        calls: per pass.
        spreads: what it divides by, at 5, 50 and 95 % of what it normalises: rows, or features of batch norm.
        rates: ``(weight / spread)^2``, likewise: by how much a step of the layer before is larger in its output, so
            that it learns as if at so many times the rate.
        eps_share: share of ``eps`` in what it divides by, squared, at the median; near 1, it normalises nothing.
        batch: of batch norm alone.
    """

    place: str
    kind: str
    calls: int
    spreads: tuple[float, float, float]
    rates: tuple[float, float, float]
    eps_share: float
    batch: BatchStatistics | None = None


def normalisation_report(
    model: nn.Module, batch: Mapping[str, Any], *, accumulation: int = 1
) -> tuple[NormalisationUse, ...]:
    """Look at what normalisations get in a pass in training.

    Source: kexue.fm/archives/6992, which reads the division as a rate of learning per feature.

    Args:
        model: yours; a copy is run.
        batch: inputs of the model, a micro-batch as in training: batch norm looks at how many numbers it has.
        accumulation: micro-batches per step of the optimizer, each of which moves batch norm's running statistics.

    Returns:
        One entry per place, in the order of the model: batch norms, layer norms, and other modules named after a norm
        that turn out to normalise rows, whether or not they subtract the mean. Group and instance norms are left out.

    Raises:
        TypeError: ``accumulation`` is no integer.
        ValueError: it is below 1, batch norm gets one number per feature, or a normalisation gets no numbers, or NaN
            or infinity.

    Example:
        >>> model = nn.Sequential(nn.LayerNorm(4, elementwise_affine=False))
        >>> (use,) = normalisation_report(model, {"input": torch.tensor([[0.0, 2, 0, 2], [0, 4, 0, 4]])})
        >>> use.kind, [round(one, 2) for one in use.spreads], [round(one, 2) for one in use.rates]
        ('LayerNorm', [1.05, 1.5, 1.95], [0.29, 0.62, 0.96])
    """
    checked_number("accumulation", accumulation, least=1, whole=True)
    seen: dict[tuple[str, str], list[_Seen]] = {}
    with training_copy(model) as copied:
        for name, module in copied.named_modules():
            if "Norm" in type(module).__name__ and not list(module.children()):
                found = seen.setdefault((kind_of_place(name), type(module).__name__), [])
                module.register_forward_pre_hook(partial(_look, found=found), with_kwargs=True)
        copied(**batch)
    return tuple(_use(place, found, accumulation) for (place, _), found in seen.items() if found)


@dataclass(frozen=True)
class _Seen:
    module: nn.Module
    spreads: Tensor
    rates: Tensor
    eps: float
    numbers: int
    shift: Tensor


def _look(module: Any, inputs: tuple[Tensor, ...], named: dict[str, Tensor], found: list[_Seen]) -> None:
    states = next(iter((*inputs, *named.values()))).double()
    if isinstance(module, nn.GroupNorm | _InstanceNorm):
        return
    if not states.numel():
        raise ValueError(f"{type(module).__name__} gets no numbers: the batch is empty; give rows as in training")
    if not states.isfinite().all():
        raise ValueError(
            f"{type(module).__name__} gets NaN or infinity: weights or inputs of the model are broken; train it again"
        )
    eps = float(getattr(module, "eps", None) or getattr(module, "variance_epsilon", 0.0) or 0.0)
    none = states.new_zeros(0)
    if isinstance(module, _BatchNorm):
        gain = torch.ones(()) if module.weight is None else module.weight.double()
        features = states.transpose(0, 1).flatten(1)
        spread = features.var(dim=1, correction=0).add(eps).sqrt()
        shift = none
        if module.running_mean is not None and module.running_var is not None:
            shift = (features.mean(dim=1) - module.running_mean) / (module.running_var + eps).sqrt()
        found.append(_Seen(module, spread, (gain / spread).square(), eps, features.shape[1], shift))
        return
    kind = _LAYER_NORM if isinstance(module, nn.LayerNorm) else _kind_by_what_it_does(module, states.shape[-1])
    if kind is None:
        return
    rows = states.flatten(-len(module.normalized_shape)) if isinstance(module, nn.LayerNorm) else states
    centre = rows.mean(dim=-1, keepdim=True) if kind.subtracts_mean else 0.0
    spread = (rows - centre).square().mean(dim=-1).add(eps).sqrt().flatten()
    weight = module.weight if kind.gain is None else kind.gain
    power = 1.0 if weight is None else weight.double().square().mean()
    found.append(_Seen(module, spread, power / spread.square(), eps, 0, none))


class _Kind(NamedTuple):
    subtracts_mean: bool
    gain: Tensor | None = None  # where it is not the weight


_LAYER_NORM = _Kind(True)


def _kind_by_what_it_does(module: nn.Module, dim: int) -> _Kind | None:
    """Whether a row's mean is subtracted, and what it is multiplied by; ``None`` where rows are not normalised."""
    like = next(module.parameters(), torch.ones(()))
    forward = partial(type(module).forward, module)  # past the hooks
    row = torch.linspace(1, 2, dim, dtype=like.dtype, device=like.device)[None]
    signs = (1 - 2 * (torch.arange(dim, device=like.device) % 2))[None].to(like.dtype)
    try:
        usual, doubled, raised = forward(row), forward(2 * row), forward(row + 1)
        gain = (forward(signs) - forward(torch.zeros_like(row))) * signs
    except (RuntimeError, ValueError, TypeError, IndexError):  # wants other shapes, as group norm
        return None
    alike = partial(torch.allclose, rtol=1e-2, atol=1e-2)
    return _Kind(alike(usual, raised), gain) if alike(usual, doubled) else None


def _use(place: str, found: list[_Seen], accumulation: int) -> NormalisationUse:
    shares = torch.tensor(_SHARES, dtype=torch.float64)
    spreads, rates = (
        torch.cat([getattr(one, name).flatten().cpu() for one in found]) for name in ("spreads", "rates")
    )
    low, middle, high = torch.quantile(_thinned(spreads), shares).tolist()
    slow, usual, fast = torch.quantile(_thinned(rates), shares).tolist()
    module = found[0].module
    batch = _batch_statistics(found, accumulation) if isinstance(module, _BatchNorm) else None
    eps_share = found[0].eps / middle**2 if middle else 1.0
    return NormalisationUse(
        place, type(module).__name__, len(found), (low, middle, high), (slow, usual, fast), eps_share, batch
    )


def _batch_statistics(found: list[_Seen], accumulation: int) -> BatchStatistics:
    module: Any = found[0].module
    shift = torch.cat([one.shift for one in found])
    momentum = (module.momentum or 0.0) if module.track_running_stats else 0.0
    half_life = inf if momentum == 0 else log(0.5) / log(1 - momentum) / accumulation if momentum < 1 else 0.0
    return BatchStatistics(
        numbers=min(one.numbers for one in found),
        momentum=momentum,
        momentum_per_step=1 - (1 - momentum) ** accumulation,
        half_life=half_life,
        shift=shift.square().mean().sqrt().item() if len(shift) else 0.0,
    )


def _thinned(numbers: Tensor, most: int = 1_000_000) -> Tensor:
    """Torch takes quantiles of 16 million numbers at most."""
    return numbers[:: -(-len(numbers) // most)].double()
