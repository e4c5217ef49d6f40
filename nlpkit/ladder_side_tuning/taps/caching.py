"""Computes the taps of a set of rows once, for all epochs after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nlpkit.files import only_writer
from nlpkit.ladder_side_tuning.fingerprint import backbone_fingerprint
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.taps.cache import FORMAT, MANIFEST, TapCache
from nlpkit.ladder_side_tuning.taps.keys import row_keys, with_decoder_ids
from nlpkit.ladder_side_tuning.taps.shard import DTYPES, write_shard
from nlpkit.runs.facts import settle_facts

Row = Mapping[str, Any]
#: The taps of rows by their digest: for each stack, shape ``(length, layers, width)``.
Pending = dict[bytes, dict[str, Tensor]]


def estimate_tap_bytes(ladder: Ladder, tokens: Sequence[int], dtype: str = "bfloat16") -> int:
    """How much disk the taps of so many tokens take.

    Args:
        ladder: a model with a ladder; its layers are counted.
        tokens: for each stack, the encoder first, tokens without padding.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"int8"``.

    Returns:
        Bytes, exact except for headers.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> estimate_tap_bytes(get_ladder_model(model, LadderConfig(reduction=2)), [1000])
        48000
    """
    size = DTYPES[dtype].itemsize
    scale = 4 if dtype == "int8" else 0
    layers = ladder.tapped_layers().values()
    return sum(
        count * len(kept) * (width * size + scale)
        for count, kept, width in zip(tokens, layers, _widths(ladder).values(), strict=True)
    )


def fill_cache(
    ladder: Ladder,
    rows: Sequence[Row],
    folder: str | Path,
    collate: Callable[[list[Any]], Mapping[str, Any]],
    dtype: str,
    batch_size: int,
    shard_bytes: int,
    show_progress: bool,
) -> TapCache:
    """Run the backbone over the rows that a cache lacks; ``LadderModel.cache_taps`` describes the arguments."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is unknown; use {', '.join(map(repr, DTYPES))}")
    folder = Path(folder)
    was_training = ladder.training
    ladder.eval()
    progress = tqdm(total=len(rows), desc="caching taps", unit="row", disable=None if show_progress else True)
    try:
        with only_writer(folder):
            _settle(ladder, folder, dtype)
            cache = TapCache(folder)
            order = sorted(range(len(rows)), key=lambda number: _lengths(ladder, rows[number]))
            _check_space(ladder, folder, rows, len(cache), dtype)
            pending: Pending = {}
            kept, pending_bytes = len(cache), 0
            for start in range(0, len(order), batch_size):
                batch = collate([rows[number] for number in order[start : start + batch_size]])
                for digest, taps in _missing_taps(ladder, batch, cache, pending, dtype):
                    pending[digest] = taps
                    pending_bytes += sum(tap.numel() * DTYPES[dtype].itemsize for tap in taps.values())
                if pending_bytes >= shard_bytes:
                    kept += _write(folder, pending, dtype, kept, len(rows))
                    pending_bytes = 0
                progress.update(min(batch_size, len(order) - start))
            if pending:
                _write(folder, pending, dtype, kept, len(rows))
            return TapCache(folder)
    finally:
        progress.close()
        ladder.train(was_training)


def _settle(ladder: Ladder, folder: Path, dtype: str) -> None:
    """Write the manifest, or compare with the one that is there."""
    facts = {
        "format": FORMAT,
        "fingerprint": backbone_fingerprint(ladder),
        "layers": ladder.tapped_layers(),
        "widths": _widths(ladder),
        "dtype": dtype,
    }
    settle_facts(folder / MANIFEST, facts, begins=not any(folder.glob("taps-*.safetensors")))


def _check_space(ladder: Ladder, folder: Path, rows: Sequence[Row], present: int, dtype: str) -> None:
    lengths = [_lengths(ladder, row) for row in rows]
    tokens = [sum(column) for column in zip(*lengths, strict=True)] or [0] * len(ladder.stacks)
    share = max(0, len(rows) - present) / max(1, len(rows))
    needed, free = int(estimate_tap_bytes(ladder, tokens, dtype) * share), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"the taps of {len(rows)} rows take {needed / 2**30:.2f} GiB, {folder} has {free / 2**30:.2f} GiB left; "
            "tap fewer layers, keep them in 'int8', or choose another disk"
        )


@torch.no_grad()
def _missing_taps(
    ladder: Ladder, batch: Mapping[str, Any], cache: TapCache, pending: Pending, dtype: str
) -> Iterator[tuple[bytes, dict[str, Tensor]]]:
    keys = row_keys(with_decoder_ids(ladder, batch), len(ladder.stacks), ladder.config.pad_token_id)
    missing = {
        key.digest: row for row, key in enumerate(keys) if key.digest not in cache and key.digest not in pending
    }
    if not missing:
        return
    found = ladder.tap(**{name: value.to(ladder.device) for name, value in batch.items()})
    # Rounded before anything is copied, which halves what copies cost; 8 bits are rounded to when they are written.
    held = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    stacked = {
        stack: torch.stack([taps[layer].to(held) for layer in sorted(taps)], 2).cpu() for stack, taps in found.items()
    }
    for digest, row in missing.items():
        spans = dict(zip(stacked, keys[row].spans, strict=True))
        yield digest, {stack: taps[row, slice(*spans[stack])] for stack, taps in stacked.items()}


def _write(folder: Path, pending: Pending, dtype: str, kept: int, wanted: int) -> int:
    """Write a shard and empty what is pending; how many rows it holds."""
    # Not how many there are: one in the middle may have been deleted because it was damaged.
    number = 1 + max((int(path.stem.removeprefix("taps-")) for path in folder.glob("taps-*.safetensors")), default=-1)
    try:
        write_shard(folder / f"taps-{number:05}.safetensors", list(pending.items()), dtype)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write taps ({error.strerror}); {kept} of {wanted} rows are kept in {folder}: free some space and "
            "call cache_taps again, which continues from there",
        ) from error
    written = len(pending)
    pending.clear()
    return written


def _lengths(ladder: Ladder, row: Row) -> tuple[int, ...]:
    if len(ladder.stacks) == 1:
        return (len(row["input_ids"]),)
    read = row.get("labels") if row.get("decoder_input_ids") is None else row["decoder_input_ids"]
    if read is None:
        raise ValueError("a row has no 'labels'; the taps of a decoder depend on what it reads")
    return len(row["input_ids"]), len(read)


def _widths(ladder: Ladder) -> dict[str, int]:
    return {stack.name: getattr(stack.config(ladder), stack.family.width) for stack in ladder.stacks}
