"""Taps on disk: the backbone is frozen and without dropout, so they never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nlpkit.files import read_json
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.saved.fingerprint import tap_fingerprints
from nlpkit.ladder_side_tuning.taps.keys import RowKey, as_read, row_keys, why_not_keyed
from nlpkit.ladder_side_tuning.taps.padding import with_padding
from nlpkit.ladder_side_tuning.taps.shard import DTYPES, Shard

MANIFEST = "tap_cache.json"
FORMAT = 5
#: What a manifest says besides its format.
FACTS = ("fingerprints", "layers", "widths", "dtype")


class TapCache:
    """The taps of a set of rows, on disk; a ladder's ``cache_taps`` makes one, its ``use_tap_cache`` uses it.

    Args:
        folder: what ``cache_taps`` wrote.

    Raises:
        FileNotFoundError: there is no cache in the folder.
        ValueError: a file is cut off or damaged, or of another format.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {MANIFEST}; make a cache with ladder.cache_taps")
        self.manifest = read_json(path)
        if self.manifest.get("format") != FORMAT:
            raise ValueError(f"{path} is of format {self.manifest.get('format')}, this nlpkit reads {FORMAT}")
        missing = [name for name in FACTS if name not in self.manifest]
        if missing:
            raise ValueError(f"{path} is damaged: it lacks {missing[0]!r}; cache the taps again in another folder")
        shards = sorted(self.folder.glob("taps-*.safetensors"))
        self._shards = [Shard(shard, self.manifest["layers"]) for shard in shards]
        self._places = {key: (shard, row) for shard in self._shards for row, key in enumerate(shard.keys)}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def __reduce__(self) -> tuple[type[TapCache], tuple[Path]]:
        return TapCache, (self.folder,)

    def check(self, ladder: Ladder) -> None:
        """Refuse a ladder whose taps these are not.

        Args:
            ladder: a model with a ladder.

        Raises:
            ValueError: its backbone has other weights or settings up to a layer that it taps, or it taps layers that
                were not cached.
        """
        for stack, layers in ladder.tapped_layers().items():
            missing = sorted(set(layers) - set(self.manifest["layers"].get(stack, [])))
            if missing:
                raise ValueError(
                    f"the cache in {self.folder} holds layers {self.manifest['layers'].get(stack)} of {stack!r}, the "
                    f"ladder also taps {missing}; cache the taps again with this ladder"
                )
        kept = self.manifest["fingerprints"]
        for stack, digests in tap_fingerprints(ladder).items():
            for layer, found in digests.items():
                before = kept.get(stack, {}).get(str(layer), "of none")
                if found != before:
                    raise ValueError(
                        f"the cache in {self.folder} is stale: it was made with other backbone weights or settings "
                        f"(fingerprint {before[:8]} of layer {layer}, the ladder's is {found[:8]}); "
                        "cache the taps again elsewhere"
                    )

    def look_up(self, ladder: Ladder, inputs: Mapping[str, Any]) -> dict[str, dict[int, Tensor]] | None:
        """Find the taps of a batch.

        Args:
            ladder: whose layers are wanted.
            inputs: the model's inputs by name.

        Returns:
            Taps for ``forward``, zeros where there is padding; ``None`` if a row is missing, or if the states may
            depend on other inputs than those that rows are looked up by.
        """
        inputs = as_read(ladder, len(ladder.stacks), inputs)
        if why_not_keyed(inputs) is not None:
            return None
        keys = row_keys(inputs, len(ladder.stacks), ladder.config.pad_token_id)
        keys = with_padding(ladder, inputs, keys)
        if any(key.digest not in self._places for key in keys):
            return None
        return {
            stack.name: self._gather(stack.name, layers, keys, number, _length(inputs, number))
            for number, (stack, layers) in enumerate(zip(ladder.stacks, ladder.tapped_layers().values(), strict=True))
        }

    def _gather(
        self, stack: str, layers: Sequence[int], keys: Sequence[RowKey], number: int, length: int
    ) -> dict[int, Tensor]:
        chosen = [self.manifest["layers"][stack].index(layer) for layer in layers]
        width: int = self.manifest["widths"][stack]
        dtype = torch.float32 if self.manifest["dtype"] == "int8" else DTYPES[self.manifest["dtype"]]
        taps = torch.zeros(len(layers), len(keys), length, width, dtype=dtype)
        for row, key in enumerate(keys):
            shard, place = self._places[key.digest]
            start, end = key.spans[number]
            taps[:, row, start:end] = shard.read(stack, place)[:, chosen].transpose(0, 1)
        return dict(zip(layers, taps.unbind(), strict=True))


def _length(inputs: Mapping[str, Any], number: int) -> int:
    """The padded length of what a stack reads."""
    return int(inputs["decoder_input_ids" if number else "input_ids"].shape[-1])
