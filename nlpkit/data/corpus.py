"""Files as rows of token ids, made once into a cached Arrow data set, with some runs of their lines held out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import pyarrow.compute as compute
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from nlpkit.data.text_corpus import domain_of
from nlpkit.text_files import read_lines


@dataclass(frozen=True)
class Corpus(ABC):
    """Files, the tokenizer and the settings that turn the one by the other into rows.

    Args:
        files: a file's name up to the first dot is its domain.
        tokenizer: the model's own.
        run_lines: lines per run; whole runs are held out.
        held_out_every: the first of so many runs of each file is held out for evaluation.

    Raises:
        ValueError: a setting is out of range.
    """

    files: list[Path]
    tokenizer: PreTrainedTokenizerBase
    run_lines: int = field(default=32, kw_only=True)
    held_out_every: int = field(default=100, kw_only=True)

    #: Of a row; ``"domain"`` is one of them.
    features: ClassVar[datasets.Features]

    def __post_init__(self) -> None:
        if self.run_lines < 1 or self.held_out_every < 2:
            raise ValueError(
                "run_lines must be at least 1 and held_out_every at least 2, or no text is left to train on; "
                f"got {self.run_lines} and {self.held_out_every}"
            )

    @abstractmethod
    def rows(self, path: Path, held_out: bool) -> Iterator[dict[str, Any]]:
        """The rows of a file's held-out or training part, without their domain."""

    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What decides the rows beside files, tokenizer and the runs that are held out."""

    @property
    def domains(self) -> list[str]:
        """The names of the domains, sorted; a row's ``"domain"`` is the index of one."""
        return sorted({domain_of(path) for path in self.files})

    def is_held_out(self, run: int) -> bool:
        """Whether a run of lines, counted from 0, is held out."""
        return run % self.held_out_every == 0

    def dataset(self, held_out: bool, num_proc: int | None = None, cache_dir: str | None = None) -> datasets.Dataset:
        """All rows of the held-out or the training part, from the cache where they were made before.

        Args:
            held_out: which part.
            num_proc: processes to make them with, at most one per file.
            cache_dir: where the Arrow files lie; by default in the cache of ``datasets``.

        Returns:
            A data set with the columns of ``features``.

        Raises:
            ValueError: a domain has no rows in this part.
        """
        try:
            rows = datasets.Dataset.from_generator(
                _generate,
                features=self.features,
                cache_dir=cache_dir,
                gen_kwargs={"corpus": self, "held_out": held_out, "paths": self.files},
                num_proc=min(num_proc, len(self.files)) if num_proc else None,
                fingerprint=self.fingerprint(held_out),
            )
        except datasets.exceptions.DatasetGenerationError as error:
            if isinstance(error.__cause__, ValueError | OSError):
                raise error.__cause__ from None
            self._read_through()  # From another process only the error's text arrives; here it is raised again.
            raise
        except ValueError as error:
            if "no data" not in str(error):  # as datasets 5.2 says of a split without rows
                raise
            raise ValueError(self.no_rows(self.domains[0], held_out)) from None
        present = set(rows.unique("domain"))
        for index, domain in enumerate(self.domains):
            if index not in present:
                raise ValueError(self.no_rows(domain, held_out))
        return rows

    def fingerprint(self, held_out: bool) -> str:
        """A hash of the files' contents, the tokenizer and the settings, by which the cache knows the rows."""
        settings = (*self.settings(), self.run_lines, self.held_out_every, held_out)
        contents = [(domain_of(path), _digest(path)) for path in self.files]
        return str(datasets.fingerprint.Hasher.hash((settings, contents, self.tokenizer)))

    def no_rows(self, domain: str, held_out: bool) -> str:
        """What to tell where a domain yields no rows of a part."""
        part = "held-out" if held_out else "training"
        return (
            f"domain {domain!r} yields no {part} text: the first of every {self.held_out_every} runs of "
            f"{self.run_lines} lines is held out; check the file, or take shorter runs"
        )

    def _read_through(self) -> None:
        for path in self.files:
            deque(read_lines(path), maxlen=0)


def _generate(corpus: Corpus, held_out: bool, paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        domain = corpus.domains.index(domain_of(path))
        for row in corpus.rows(path, held_out):
            yield row | {"domain": domain}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row_lengths(rows: datasets.Dataset) -> NDArray[np.int64]:
    """Tokens of each row's source and of its target, which may have none yet, shape ``(rows, 2)``.

    Args:
        rows: as ``Corpus.dataset`` gives them.

    Example:
        >>> row_lengths(datasets.Dataset.from_dict({"domain": [0, 0], "input_ids": [[5], [6, 7]]})).tolist()
        [[1, 0], [2, 0]]
    """
    table, lengths = rows.with_format("arrow")[:], np.zeros((len(rows), 2), dtype=np.int64)
    for column, name in enumerate(("input_ids", "labels")):
        if name in table.column_names:
            lengths[:, column] = compute.list_value_length(table[name]).to_numpy()
    return lengths


def spread_over_domains(rows: datasets.Dataset, limit: int) -> datasets.Dataset:
    """At most so many rows of each domain, spread evenly over it.

    Args:
        rows: with a column ``"domain"``.
        limit: rows per domain.

    Example:
        >>> rows = datasets.Dataset.from_dict({"domain": [0, 0, 0, 1], "input_ids": [[5], [6], [7], [8]]})
        >>> spread_over_domains(rows, 2)["input_ids"][:]
        [[5], [7], [8]]
    """
    domains = np.array(rows["domain"])
    chosen: list[NDArray[np.int64]] = []
    for domain in np.unique(domains):
        own = np.flatnonzero(domains == domain)
        chosen.append(own[np.linspace(0, len(own) - 1, min(len(own), limit)).astype(int)])
    return rows.select(np.concatenate(chosen))
