"""A small table of what links need: counts of pairs of characters, and how freely their neighbours vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.counts.corpus_counts import CorpusCounts
from nlpkit.perturbed_masking.counts.entropies import neighbour_entropies
from nlpkit.perturbed_masking.counts.runs import Codes, without_first, without_last
from nlpkit.perturbed_masking.counts.sorted_keys import find_keys, values_of

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_LEVELS = 255
_MOST_CHARACTERS = (1 << 16) - 1
#: Added to counts that are seen and expected, so that rare characters are not linked without evidence.
_PRIOR = 0.5


@dataclass(frozen=True)
class PairTable:
    """Characters and pairs of them, with their counts, and the entropies of their right and left neighbours in nats.

    Args:
        codes: code points of the characters, rising; the first is 0, the border.
        counts: of each character; of the border, 0.
        right: of each character, the entropy of its right neighbour.
        left: of its left neighbour.
        pairs: pairs, rising: the number of the first character times 65,536, and that of the second.
        pair_counts: of each pair.
        pair_right: of each pair, the entropy of its right neighbour.
        pair_left: of its left neighbour.
    """

    codes: Codes
    counts: Floats
    right: Floats
    left: Floats
    pairs: Indices
    pair_counts: Floats
    pair_right: Floats
    pair_left: Floats

    @classmethod
    def from_counts(cls, counts: CorpusCounts, min_count: int = 10) -> PairTable:
        """The table of a corpus.

        Args:
            counts: of the corpus.
            min_count: pairs that occur less often are left out; so are all but the 65,535 most frequent characters.

        Raises:
            ValueError: nothing was counted, or ``min_count`` is below 1.

        Example:
            >>> from nlpkit.perturbed_masking.counts.corpus_counts import count_part
            >>> counts = CorpusCounts()
            >>> counts.add(count_part("天气好，天气"))
            >>> table = PairTable.from_counts(counts, min_count=2)
            >>> [chr(code) for code in table.codes[1:]], table.pair_counts.tolist()
            (['天', '好', '气'], [2.0, 2.0])
        """
        if min_count < 1:
            raise ValueError(f"min_count={min_count} must be 1 or more")
        characters, pairs, triples = (counts.by_length[length] for length in (1, 2, 3))
        if not counts.characters:
            raise ValueError("no Chinese character or kana was counted, so there are no links; count another corpus")
        frequent = np.argsort(-characters.counts, kind="stable")[:_MOST_CHARACTERS]
        codes = np.sort(np.append(characters.keys[frequent], np.uint64(0)))
        keys = pairs.keys[pairs.counts >= min_count]
        first, second = without_last(keys), without_first(keys, 2)
        known = np.isin(first, codes) & np.isin(second, codes)
        keys, first, second = keys[known], first[known], second[known]
        entropies = {
            (length, side): values_of(*neighbour_entropies(longer.keys, longer.counts, length, side), wanted)
            for length, wanted, longer in ((1, codes, pairs), (2, keys, triples))
            for side in ("right", "left")
        }
        return cls(
            codes=codes.astype(np.uint32),
            counts=characters.look_up(codes).astype(np.float64),
            right=entropies[1, "right"],
            left=entropies[1, "left"],
            pairs=(np.searchsorted(codes, first) << 16) + np.searchsorted(codes, second),
            pair_counts=pairs.look_up(keys).astype(np.float64),
            pair_right=entropies[2, "right"],
            pair_left=entropies[2, "left"],
        )

    def links(self, codes: Codes, borders: float = 1.0) -> Floats:
        """How strongly neighbours are linked.

        For the gap in ``w x | y z``, with ``N`` characters in the corpus and ``1/2`` added to what was seen and to
        what chance gives:

            link = log (n(xy) + 1/2) / (n(x) n(y) / N + 1/2) - borders * (H(x .) + H(. y) + H(wx .) + H(. yz)) / 2

        The logarithm is the pointwise mutual information of ``x`` and ``y``; ``H(x .)`` is the entropy of what
        follows ``x``, ``H(. y)`` of what precedes ``y``, in nats. A pair that is not in the table has the entropy of
        its character beside the gap.

        Source: mutual information (Church and Hanks, 1990; Sproat and Shih, 1990), branching entropy (Jin and
        Tanaka-Ishii, 2006); their sum, with the mean over contexts of one and of two characters, is ours.

        Args:
            codes: as ``find_runs`` gives them.
            borders: weight of the entropies; 0 leaves mutual information alone.

        Returns:
            Shape ``(len(codes) - 1,)``, in nats; beside borders, they mean nothing.
        """
        numbers, known = find_keys(self.codes, codes)
        counts, right, left = (values_of(self.codes, values, codes) for values in (self.counts, self.right, self.left))
        pairs = np.where(known[:-1] & known[1:], (numbers[:-1] << 16) + numbers[1:], -1)
        places, held = find_keys(self.pairs, pairs)
        seen, pair_right, pair_left = np.zeros(len(pairs)), right[1:].copy(), left[:-1].copy()
        for found, values in ((seen, self.pair_counts), (pair_right, self.pair_right), (pair_left, self.pair_left)):
            found[held] = values[places[held]]
        expected = counts[:-1] * counts[1:] / self.counts.sum()
        information = np.log((seen + _PRIOR) / (expected + _PRIOR))
        # The pair that ends where the link begins, and the one that begins where it ends.
        before, after = np.append(right[:1], pair_right)[:-1], np.append(pair_left, left[-1:])[1:]
        return information - borders * (right[:-1] + left[1:] + before + after) / 2

    def chance_link(self, borders: float = 1.0) -> float:
        """The link of characters that have nothing to do with each other: no information, and the mean entropies.

        Args:
            borders: as for ``links``.

        Returns:
            In nats; never positive.
        """
        entropies = [np.average(values, weights=self.counts) for values in (self.right, self.left)]
        if len(self.pairs):
            entropies += [np.average(values, weights=self.pair_counts) for values in (self.pair_right, self.pair_left)]
        else:  # a pair that is not in the table has the entropy of its character
            entropies *= 2
        return -borders * float(sum(entropies)) / 2

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The table in few bytes: five per pair, counts and entropies rounded to 255 levels of their range."""
        tensors: dict[str, NDArray[np.generic]] = {
            "codes": self.codes,
            "counts": self.counts.astype(np.uint32),
            "starts": np.searchsorted(self.pairs >> 16, np.arange(len(self.codes) + 1)).astype(np.uint32),
            "seconds": (self.pairs & 0xFFFF).astype(np.uint16),
        }
        for name, values in self._rounded().items():
            step = values.max(initial=0.0) / _LEVELS
            tensors[name] = np.rint(values / (step or 1.0)).astype(np.uint8)
            tensors[f"{name}_step"] = np.array([step])
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.number]]) -> PairTable:
        """The table that ``tensors`` gave, with its rounded numbers.

        Raises:
            KeyError: one is missing.
        """
        codes, starts = tensors["codes"], tensors["starts"].astype(np.int64)
        levels = {
            name: tensors[name].astype(np.float64) * float(tensors[f"{name}_step"][0])
            for name in ("right", "left", "pair_logs", "pair_right", "pair_left")
        }
        return cls(
            codes=codes.astype(np.uint32),
            counts=tensors["counts"].astype(np.float64),
            right=levels["right"],
            left=levels["left"],
            pairs=(np.repeat(np.arange(len(codes)), np.diff(starts)) << 16) + tensors["seconds"].astype(np.int64),
            pair_counts=np.exp(levels["pair_logs"]),
            pair_right=levels["pair_right"],
            pair_left=levels["pair_left"],
        )

    def _rounded(self) -> dict[str, Floats]:
        return {
            "right": self.right,
            "left": self.left,
            "pair_logs": np.log(self.pair_counts),
            "pair_right": self.pair_right,
            "pair_left": self.pair_left,
        }
