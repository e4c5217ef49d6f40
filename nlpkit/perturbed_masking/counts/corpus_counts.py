"""How often characters, pairs and triples of them occur in a corpus of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nlpkit.files import whole_file
from nlpkit.perturbed_masking.counts.lossy_counts import LossyCounts
from nlpkit.perturbed_masking.counts.runs import LONGEST, Keys, Numbers, count_sequences, find_runs, pack

#: Counts of a part of a corpus: for each length from 1 on, keys and the count of each.
PartCounts = list[tuple[Keys, Numbers]]

_LENGTHS = range(1, LONGEST + 1)
_ITEM_BYTES = 40  # three arrays of 8 bytes, a copy of one of them, and a mask
#: Of the memory, what sequences of each length get. There are about seven times as many triples as pairs.
_SHARES = {1: 1 / 16, 2: 3 / 16, 3: 3 / 4}
_KIND = "nlpkit counts of character sequences, 1"


class CorpusCounts:
    """Counts of sequences of one, two and three characters, exact as long as they fit into memory.

    Args:
        memory: bytes for what is held and for adding to it; where it runs short, rare sequences are dropped within
            the bounds that ``LossyCounts`` states. ``None``: no limit.

    Attributes:
        by_length: the ``LossyCounts`` of each length.

    Raises:
        ValueError: ``memory`` is under a million bytes.

    Example:
        >>> counts = CorpusCounts()
        >>> counts.add(count_part("天气好，天气"))
        >>> counts.count("天"), counts.count("天气"), counts.count("天好"), counts.characters
        (2, 2, 0, 5)
    """

    def __init__(self, memory: int | None = None) -> None:
        if memory is not None and memory < 1_000_000:
            raise ValueError(f"memory={memory} bytes hold too few counts to be of use; give 1_000_000 or more")
        self.memory = memory
        self.by_length = {length: LossyCounts(self._most(length)) for length in _LENGTHS}

    @property
    def characters(self) -> int:
        """Characters counted, without what is no part of words of several characters."""
        return int(self.by_length[1].counts.sum())

    def add(self, part: PartCounts) -> None:
        """Add the counts of a part of the corpus, as ``count_part`` gives them."""
        for length, counted in zip(_LENGTHS, part, strict=True):
            self.by_length[length].add(*counted)

    def count(self, sequence: str) -> int:
        """How often a sequence of one to three characters was counted.

        Raises:
            ValueError: another length, or a character that is no part of words of several characters.
        """
        codes = find_runs(sequence).codes[1:-1]
        if not 1 <= len(sequence) <= LONGEST or len(codes) != len(sequence) or not codes.all():
            raise ValueError(f"{sequence!r} is not counted; give 1 to {LONGEST} Chinese characters, or as many kana")
        return int(self.by_length[len(sequence)].look_up(pack(codes, len(sequence)))[0])

    def save(self, path: str | Path, facts: Mapping[str, object] | None = None) -> None:
        """Write the counts to a safetensors file, whole or not at all.

        Args:
            path: the file.
            facts: JSON values to keep beside the counts, for ``load_facts``.
        """
        tensors = {
            f"{name}_{length}": getattr(counts, name)
            for length, counts in self.by_length.items()
            for name in ("keys", "counts", "missed")
        }
        floors = [counts.floor for counts in self.by_length.values()]
        about = {"kind": _KIND, "memory": self.memory, "floors": floors, "facts": dict(facts or {})}
        with whole_file(path) as draft:
            save_file(tensors, draft, metadata={"about": json.dumps(about, ensure_ascii=False)})

    @classmethod
    def load(cls, path: str | Path) -> CorpusCounts:
        """Read the counts that ``save`` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is damaged, or holds something else.
        """
        about = _about(path)
        counts = cls(about["memory"])
        with safe_open(path, framework="numpy") as tensors:
            for (length, one), floor in zip(counts.by_length.items(), about["floors"], strict=True):
                one.floor = floor
                one.keys, one.counts, one.missed = (
                    tensors.get_tensor(f"{name}_{length}") for name in ("keys", "counts", "missed")
                )
        return counts

    def _most(self, length: int) -> int | None:
        return None if self.memory is None else int(self.memory * _SHARES[length] / _ITEM_BYTES)


def load_facts(path: str | Path) -> dict[str, object]:
    """What ``CorpusCounts.save`` was given beside the counts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or holds something else.
    """
    facts: dict[str, object] = _about(path)["facts"]
    return facts


def count_part(text: str) -> PartCounts:
    """Count the sequences in a text; of several texts, in what they are joined to by line ends.

    Args:
        text: any text.

    Returns:
        For each length, keys and counts.
    """
    codes = find_runs(text).codes
    return [count_sequences(codes, length) for length in _LENGTHS]


def _about(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; count_corpus writes one")
    try:
        with safe_open(path, framework="numpy") as tensors:
            about = json.loads((tensors.metadata() or {}).get("about", "{}"))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off ({error}); delete it, and count again") from error
    if about.get("kind") != _KIND:
        raise ValueError(f"{path} holds no counts of character sequences; count_corpus writes such files")
    return about
