"""Whether bf16 arithmetic makes training faster on this machine."""

from __future__ import annotations

import torch


def bf16_is_fast() -> bool:
    """Whether the machine has units that multiply bf16 matrices; if not, autocast to bf16 slows training down.

    Returns:
        ``True`` on GPUs that support bf16 and on CPUs with AMX instructions.

    Note:
        Measured on one or two cores, a product of 1024 or 3072 rows, ``(n, 384) x (384, 1536)``: with AMX bf16 is
        about ten times as fast as fp32; with AVX512-BF16 alone (an Intel processor, torch 2.13) half as fast as fp32,
        so a step of a 12-layer BERT takes 1.4 times as long; with neither torch emulates it, at less than a third of
        fp32's speed. AMD's processors with AVX512-BF16 were not measured.

    Example:
        >>> bf16_is_fast() in (True, False)
        True
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Checked on torch 2.6 and 2.13: a private name; the public torch.cpu.get_capabilities is newer than 2.6.
    return torch.cpu._is_amx_tile_supported()


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
