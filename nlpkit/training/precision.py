"""The precision to train in: never fp16 weights, and bf16 arithmetic where the machine is fast at it."""

from __future__ import annotations

import timeit
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


#: By so many a speed is judged: what else the machine does only adds to the fastest of them.
_PRODUCTS = 15


@cache
def bf16_is_fast() -> bool:
    """Whether the machine multiplies matrices faster in bf16 than in fp32; if not, autocast slows training down.

    Returns:
        ``True`` on GPUs that support bf16, on CPUs with AMX instructions, and on others where it was measured: a
        product must take less than three quarters of its time in fp32.

    Note:
        Which instructions a processor knows does not tell. A product of 1024 rows, ``(n, 384) x (384, 1536)``: with
        AMX bf16 is about ten times as fast as fp32; with AVX512-BF16 alone twice as fast on an AMD EPYC (a training
        step of a 12-layer BERT is then 1.5 to 1.6 times as fast, its forward pass 1.8 times, torch 2.13) and half as
        fast on an Intel processor; with neither torch emulates it, at less than a third of fp32's speed.

    Cost:
        Measured once a process, in a tenth of a second, or half a second where it is emulated; no random numbers are
        drawn.

    Example:
        >>> bf16_is_fast() in (True, False)
        True
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Checked on torch 2.6 and 2.13: a private name; the public torch.cpu.get_capabilities is newer than 2.6.
    if torch.cpu._is_amx_tile_supported():
        return True
    in_fp32 = _time_of_products(torch.float32)
    return _time_of_products(torch.bfloat16, patience=_PRODUCTS * in_fp32) < 0.75 * in_fp32


def _time_of_products(dtype: torch.dtype, patience: float = 1.0) -> float:
    """The seconds that a product of a small model's sizes takes at best, of those begun within seconds of patience."""
    rows, weights = (torch.ones(*shape, dtype=dtype, device="cpu") for shape in ((256, 384), (384, 1536)))
    with torch.autocast("cpu", enabled=False):
        rows @ weights  # the first one prepares the kernel
        times: list[float] = []
        while len(times) < _PRODUCTS and sum(times) <= patience:
            times += timeit.repeat(lambda: rows @ weights, number=1, repeat=1)
        return min(times)


def fast_arithmetic() -> torch.autocast:
    """Autocast to bf16 where the machine is fast at it, and none elsewhere.

    Example:
        >>> with fast_arithmetic():
        ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
        >>> product.dtype in (torch.bfloat16, torch.float32)
        True
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=bf16_is_fast())


def refuse_fp16_training(model: nn.Module) -> None:
    """Refuse a model whose trainable parameters are fp16: most updates round to nothing, others overflow.

    Args:
        model: about to be trained. Frozen parameters may be fp16, and trainable ones bf16.

    Raises:
        ValueError: a parameter that requires a gradient is fp16; the message names it and says how to load the model.

    Note:
        transformers loads the dtype that ``config.json`` declares. ``TrainingArguments(fp16=True)`` and
        ``torch.autocast`` want fp32 parameters, and are not what is refused here.

    Example:
        >>> refuse_fp16_training(nn.Linear(2, 2))
        >>> refuse_fp16_training(nn.Linear(2, 2).half())
        Traceback (most recent call last):
        ...
        ValueError: Linear cannot be trained in float16 ('weight' and 1 more): load it with
        from_pretrained(folder, dtype="float32"), or call model.float() first
    """
    half = [
        name for name, tensor in model.named_parameters() if tensor.requires_grad and tensor.dtype == torch.float16
    ]
    if half:
        others = f" and {len(half) - 1} more" if len(half) > 1 else ""
        raise ValueError(
            f"{type(model).__name__} cannot be trained in float16 ({half[0]!r}{others}): load it with "
            'from_pretrained(folder, dtype="float32"), or call model.float() first'
        )


def refuse_fp16_step(model: PreTrainedModel) -> None:
    """Refuse the pass of a training step in fp16 weights, by whatever loop; every other pass goes on.

    Args:
        model: in a ``forward`` of its own.

    Raises:
        ValueError: it is in training mode with gradients on, and fp16 as ``refuse_fp16_training`` says.
    """
    if model.training and torch.is_grad_enabled() and model.dtype == torch.float16:
        refuse_fp16_training(model)


def refuse_scaled_gradients(technique: str, trainer: Any, way_out: str) -> None:
    """Refuse mixed precision in fp16, in which gradients are scaled, for what takes their size or makes none.

    Args:
        technique: for the message.
        trainer: with its accelerator, which ``fp16=True`` or ``accelerate launch`` gives a scaler.
        way_out: why, and what to do, for the message.

    Raises:
        ValueError: gradients are scaled.
    """
    if trainer.accelerator.scaler is not None:
        raise ValueError(f"{technique} cannot be trained with in fp16: {way_out}")


def loss_scale(trainer: Any) -> float:
    """By what losses are multiplied before a backward pass so that small gradients do not round to 0: 1 but in fp16.

    Args:
        trainer: with its accelerator.
    """
    scaler = trainer.accelerator.scaler
    return 1.0 if scaler is None else float(scaler.get_scale())
