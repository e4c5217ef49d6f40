"""Computes the taps of a set of rows once, for all epochs after."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from tqdm import tqdm

from nlpkit.checked_number import checked_number
from nlpkit.files import only_writer
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.saved.fingerprint import tap_fingerprints
from nlpkit.ladder_side_tuning.taps.cache import FORMAT, MANIFEST, TapCache
from nlpkit.ladder_side_tuning.taps.keys import as_read, reads_labels, row_keys
from nlpkit.ladder_side_tuning.taps.padding import OneLength, refuse_states_of_padding, with_padding
from nlpkit.ladder_side_tuning.taps.shard import DTYPES, write_shard
from nlpkit.modes import evaluating
from nlpkit.runs.facts import settle_facts

Row = Mapping[str, Any]
#: Columns that the Trainer leaves to collators besides the model's inputs.
_LABELS = ("label", "label_ids")
#: The taps of rows by their digest: for each stack, shape ``(length, layers, width)``.
Pending = dict[bytes, dict[str, Tensor]]


def estimate_tap_bytes(ladder: Ladder, tokens: Sequence[int], dtype: str = "bfloat16") -> int:
    """How much disk the taps of so many tokens take.

    Args:
        ladder: a model with a ladder; its layers are counted.
        tokens: for each stack, the encoder first, tokens without padding.
        dtype: a key of ``DTYPES``.

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
    over_processes: bool = False,
) -> TapCache:
    """Run the backbone over the rows that a cache lacks; ``LadderModel.cache_taps`` describes the arguments."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is unknown; use {', '.join(map(repr, DTYPES))}")
    if not len(rows):
        raise ValueError("there are no rows to cache the taps of; give the rows that will be trained on")
    checked_number("batch_size", batch_size, least=1, whole=True)
    checked_number("shard_bytes", shard_bytes, least=1, whole=True)
    folder, share = Path(folder), _Share.of_this_process() if over_processes else _Share()
    is_shown = show_progress and share.is_first
    progress = tqdm(total=len(rows), desc="caching taps", unit="row", disable=None if is_shown else True)
    try:
        with only_writer(folder) if share.is_first else nullcontext(), evaluating(ladder):
            if share.is_first:
                _settle(ladder, folder, dtype)
            share.wait()
            cache = TapCache(folder)
            order = sorted(range(len(rows)), key=lambda number: _lengths(ladder, rows[number]))
            taken = {*inspect.signature(ladder.forward).parameters, *_LABELS}
            _check_space(ladder, folder, rows, len(cache), dtype)
            if not len(cache):  # the shortest is padded to the longest
                ends = [_of_model(rows[number], taken) for number in (order[0], order[-1])]
                refuse_states_of_padding(ladder, collate(ends))
            share.wait()  # no file appears while another process still looks at what is there
            pending: Pending = {}
            kept, pending_bytes, lengths = len(cache), 0, OneLength(ladder)
            for start in share.starts(len(order), batch_size):
                numbers = order[start : start + batch_size]
                batch = collate([_of_model(rows[number], taken) for number in numbers])
                lengths.check(batch)
                for digest, taps in _missing_taps(ladder, batch, cache, pending, dtype):
                    pending[digest] = taps
                    pending_bytes += sum(tap.numel() * DTYPES[dtype].itemsize for tap in taps.values())
                if pending_bytes >= shard_bytes:
                    kept += _write(folder, pending, dtype, kept, len(rows), share)
                    pending_bytes = 0
                progress.update(min(batch_size * share.processes, len(order) - start))
            if pending:
                _write(folder, pending, dtype, kept, len(rows), share)
            share.wait()
            return TapCache(folder)
    finally:
        progress.close()


def _of_model(row: Row, taken: Collection[str]) -> Row:
    """A row without the columns that the Trainer leaves out, too: collators refuse the texts beside the tokens."""
    return {name: value for name, value in row.items() if name in taken}


class _Share(NamedTuple):
    """Which batches a process takes, and how its files are numbered so that no other has their names."""

    processes: int = 1
    process: int = 0

    @classmethod
    def of_this_process(cls) -> _Share:
        return cls(distributed.get_world_size(), distributed.get_rank()) if _is_distributed() else cls()

    @property
    def is_first(self) -> bool:
        return self.process == 0

    def starts(self, rows: int, batch_size: int) -> range:
        return range(self.process * batch_size, rows, self.processes * batch_size)

    def next_number(self, numbers: Iterable[int]) -> int:
        own = [number for number in numbers if number % self.processes == self.process]
        return max(own, default=self.process - self.processes) + self.processes

    def wait(self) -> None:
        if self.processes > 1:
            distributed.barrier()


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _settle(ladder: Ladder, folder: Path, dtype: str) -> None:
    """Write the manifest, or compare with the one that is there."""
    facts = {
        "format": FORMAT,
        "fingerprints": {
            stack: {str(layer): digest for layer, digest in digests.items()}
            for stack, digests in tap_fingerprints(ladder).items()
        },
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
    stacks = len(ladder.stacks)
    read = as_read(ladder, stacks, batch)
    keys = with_padding(ladder, read, row_keys(read, stacks, ladder.config.pad_token_id))
    missing = {
        key.digest: (row, key.spans)
        for row, key in enumerate(keys)
        if key.digest not in cache and key.digest not in pending
    }
    if not missing:
        return
    found = ladder.tap(**{name: value.to(ladder.device) for name, value in batch.items()})
    # Rounded before anything is copied, which halves what copies cost; 8 bits are rounded to when they are written.
    held = torch.float32 if dtype == "int8" else DTYPES[dtype]
    stacked = {
        stack: torch.stack([taps[layer].to(held) for layer in sorted(taps)], 2).cpu() for stack, taps in found.items()
    }
    for digest, (row, of_row) in missing.items():
        spans = dict(zip(stacked, of_row, strict=True))
        yield digest, {stack: taps[row, slice(*spans[stack])] for stack, taps in stacked.items()}


def _write(folder: Path, pending: Pending, dtype: str, kept: int, wanted: int, share: _Share) -> int:
    """Write a shard and empty what is pending; how many rows it holds."""
    # Not how many there are: one in the middle may have been deleted because it was damaged.
    number = share.next_number(int(path.stem.removeprefix("taps-")) for path in folder.glob("taps-*.safetensors"))
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
    """Tokens that each stack reads of a row."""
    length = len(row["input_ids"])
    if len(ladder.stacks) == 1:
        return (length,)
    read = row.get("decoder_input_ids")
    if read is None and reads_labels(ladder):
        read = row.get("labels")
        if read is None:
            raise ValueError("a row has no 'labels'; the taps of a decoder depend on what it reads")
    return length, length if read is None else len(read)


def _widths(ladder: Ladder) -> dict[str, int]:
    return {stack.name: getattr(stack.config(ladder), stack.family.width) for stack in ladder.stacks}
