"""Teaching a side network to give the backbone's own last states, on text without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.side.side_network import Landing
from nlpkit.modes import mode_kept
from nlpkit.training.precision import bf16_is_fast


def state_distance(found: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
    """The squared distance of states, in units of their variance, over the tokens that are not padding.

    Args:
        found: shape ``(batch, length, width)``.
        wanted: the same shape.
        mask: 1 for tokens, 0 for padding, shape ``(batch, length)``; ``None``: all are tokens.

    Returns:
        Shape ``()``; 0 where all are equal, 1 for the best constant.

    Example:
        >>> wanted = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> state_distance(torch.full((1, 3, 1), 2.0), wanted, torch.tensor([[1, 1, 0]]))
        tensor(1.)
    """
    chosen = torch.ones(found.shape[:2], dtype=torch.bool, device=found.device) if mask is None else mask.bool()
    found, wanted = found[chosen].float(), wanted[chosen].float()  # (tokens, width)
    spread = (wanted - wanted.mean(dim=0)).square().sum().clamp(min=1e-12)
    return (found - wanted).square().sum() / spread


def distill(ladder: Ladder, batches: Iterable[Mapping[str, Tensor]], *, learning_rate: float = 3e-3) -> list[float]:
    """Train a side network to give the backbone's last states, so that any head reads what it was pretrained on.

    Source: suggested, untried, by the authors of Sung, Cho and Bansal 2022 in their repository's discussions.

    Args:
        ladder: its side network is trained; head and backbone are not touched. It is left in the mode it was in.
        batches: inputs; labels are used by encoder-decoder models only, to make the decoder's inputs.
        learning_rate: of AdamW, after a warm-up over the first tenth of the batches, falling as a cosine.

    Returns:
        The ``state_distance`` of each batch; below 1 is better than a constant.

    Raises:
        ValueError: there are no batches.

    Note:
        One pass over the batches costs as much as one epoch of training the ladder on them.
    """
    rows = list(batches)
    if not rows:
        raise ValueError("distillation needs at least one batch")
    side = [parameter for module in ladder.side_modules() for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(side, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, len(rows)))
    landing = ladder.landing(ladder.stacks[-1])
    if landing is None or ladder.ladder_config.whole_from is not None:
        raise ValueError("a side network below layers that are trained whole has no last states to be distilled")
    landing.climbs.current.keeps_last = True
    losses = []
    mixed = ladder.dtype == torch.float32 and bf16_is_fast()
    progress = tqdm(rows, desc="distilling", unit="batch", leave=False)
    try:
        with mode_kept(ladder):
            ladder.train()
            for row in progress:
                batch = {name: value.to(ladder.device) for name, value in row.items()}
                with torch.autocast(ladder.device.type, torch.bfloat16, enabled=mixed):
                    found, wanted = _last_states(ladder, landing, batch)
                    loss = state_distance(found, wanted, _token_mask(ladder, batch, found))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                losses.append(loss.item())
                progress.set_postfix(distance=f"{losses[-1]:.3f}")
    finally:
        landing.climbs.current.keeps_last, landing.climbs.current.last = False, None
    return losses


def _last_states(ladder: Ladder, landing: Landing, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The side network's last states and the backbone's own."""
    kept: list[Tensor] = []
    hook = landing.register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        ladder(**batch)
    finally:
        hook.remove()
    wanted = landing.climbs.current.last
    assert wanted is not None  # kept by keeps_last
    return kept[0], wanted


def _token_mask(ladder: Ladder, batch: Mapping[str, Tensor], states: Tensor) -> Tensor | None:
    if not ladder.config.is_encoder_decoder:
        return batch.get("attention_mask")
    if "decoder_attention_mask" in batch:
        return batch["decoder_attention_mask"]
    return batch["labels"] != -100 if "labels" in batch else None


def _share(step: int, steps: int) -> float:
    """Of the learning rate, at a step."""
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
