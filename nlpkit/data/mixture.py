"""Rows of several domains, mixed in given shares, as one long sequence of numbered draws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset


class Mixture(Dataset[dict[str, Any]]):
    """A whole training run's rows in order: shuffled passes over domains, each pass holding a share of each domain.

    Args:
        rows: an indexable set of rows that takes a list of indices, such as ``datasets.Dataset``.
        domains: the domain of each row, 0 to ``len(shares) - 1``, shape ``(rows,)``.
        shares: how much of each domain one pass holds: 1 for all of it, 0.33 for a third (another third in each
            pass), 2 for all of it twice, 0 for none; shape ``(domains,)``.
        draws: length of the sequence.
        seed: seed of the order.

    Raises:
        ValueError: a share is negative, or the shares leave nothing to draw.

    Note:
        Draw ``i`` is always the same row, whatever the batch size, the number of processes or workers, or whether the
        run was resumed. Read it in order (``train_sampling_strategy="sequential"``). Each row carries its number as
        ``"draw"``, from which ``MaskedTokenCollator`` derives its mask.

    Example:
        >>> mixture = Mixture(np.arange(6), domains=np.array([0, 0, 0, 0, 1, 1]), shares=[0.5, 1.0], draws=8, seed=0)
        >>> sorted(int(mixture.row(draw)) for draw in range(8))  # two passes
        [0, 1, 2, 3, 4, 4, 5, 5]
    """

    def __init__(
        self, rows: Any, *, domains: NDArray[Any], shares: list[float] | NDArray[Any], draws: int, seed: int
    ) -> None:
        generator = np.random.default_rng([seed, 0])
        self.rows, self.draws, self.seed = rows, draws, seed
        self.members = [generator.permutation(np.flatnonzero(domains == domain)) for domain in range(len(shares))]
        if min(shares) < 0:
            raise ValueError(f"shares must not be negative; got {list(shares)}")
        self.counts = [
            min(1, len(own)) if 0 < len(own) * share < 1 else round(len(own) * share)
            for own, share in zip(self.members, shares, strict=True)
        ]
        if not sum(self.counts):
            raise ValueError(
                f"shares {list(shares)} of domains with {[len(own) for own in self.members]} rows: no rows"
            )
        self._order_of_pass = (0, self._shuffled_pass(0))

    def __len__(self) -> int:
        return self.draws

    def row(self, draw: int) -> int:
        """The index of the row at a draw."""
        number, offset = divmod(draw, sum(self.counts))
        if self._order_of_pass[0] != number:
            self._order_of_pass = (number, self._shuffled_pass(number))
        return int(self._order_of_pass[1][offset])

    def __getitem__(self, draw: int) -> dict[str, Any]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: list[int]) -> list[dict[str, Any]]:
        return [row | {"draw": draw} for row, draw in zip(self.fetch([*map(self.row, draws)]), draws, strict=True)]

    def fetch(self, numbers: list[int]) -> list[dict[str, Any]]:
        """Rows by their indices, without their domain, of which training knows nothing."""
        columns = {name: values for name, values in self.rows[numbers].items() if name != "domain"}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _shuffled_pass(self, number: int) -> NDArray[np.int64]:
        windows = [
            own[(number * count + np.arange(count)) % len(own)]
            for own, count in zip(self.members, self.counts, strict=True)
            if count
        ]
        return np.random.default_rng([self.seed, 1, number]).permutation(np.concatenate(windows))


def number_for_evaluation(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give held-out rows negative draws: masks that are always the same, and none of the training rows'.

    Args:
        rows: dictionaries with ``"input_ids"``.

    Returns:
        The rows, each with its ``"draw"``.

    Example:
        >>> number_for_evaluation([{"input_ids": [2, 7]}])
        [{'input_ids': [2, 7], 'draw': -1}]
    """
    return [row | {"draw": -1 - number} for number, row in enumerate(rows)]


def parse_shares(shares: list[str], domains: list[str], name: str = "domain_shares") -> dict[str, float]:
    """Read shares as they stand in a recipe's settings.

    Args:
        shares: strings such as ``"law=0.33"``.
        domains: the domains there are.
        name: of the setting, for errors.

    Returns:
        The share of each domain that is named.

    Raises:
        ValueError: a share does not look like that, or names no domain.

    Example:
        >>> parse_shares(["law=0.33"], domains=["law", "news"])
        {'law': 0.33}
    """
    parsed: dict[str, float] = {}
    for share in shares:
        domain, _, value = share.partition("=")
        if domain not in domains:
            raise ValueError(f"{name} names {domain!r}; the domains are {', '.join(domains)}")
        try:
            parsed[domain] = float(value)
        except ValueError:
            raise ValueError(f"{name} must look like {domain}=0.33; got {share!r}") from None
    return parsed
