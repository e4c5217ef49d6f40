"""Text files as packed rows of token ids: once into a cached Arrow data set, or on the fly as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from nlpkit.data.corpus import Corpus
from nlpkit.data.packing import pack
from nlpkit.data.text_corpus import domain_of, read_runs

_LINES_PER_CALL = 1000
#: Part of the cache's key: raise it when rows are made differently.
_FORMAT = 1


@dataclass(frozen=True)
class PackedCorpus(Corpus):
    """Text files, the tokenizer and the settings that turn the one by the other into rows.

    Args:
        files: ``.txt``, ``.gz`` or ``.xz`` files, one paragraph per line; a file's stem is its domain.
        tokenizer: its ``[CLS]`` begins a row and its ``[SEP]`` ends a line; T5's has neither.
        block_size: tokens per row.
        run_lines: lines per run; whole runs are held out.
        held_out_every: the first of so many runs of each file is held out for evaluation.

    Raises:
        ValueError: a setting is out of range.
    """

    block_size: int

    features = datasets.Features(
        {"input_ids": datasets.List(datasets.Value("int32")), "domain": datasets.Value("int32")}
    )

    def settings(self) -> tuple[Any, ...]:
        """The version of the format and the length of a row."""
        return _FORMAT, self.block_size

    def rows(self, path: Path, held_out: bool) -> Iterator[dict[str, Any]]:
        """The packed rows of a file."""
        for row in self.pack(self.documents(path, held_out)):
            yield {"input_ids": row}

    def documents(self, path: Path, held_out: bool, shard: int = 0, shards: int = 1) -> Iterator[list[int]]:
        """The tokenised lines of a file's held-out or training part.

        Args:
            path: the file.
            held_out: which part.
            shard: index of the share of the runs to read.
            shards: number of such shares.

        Returns:
            Token ids without special tokens, one list per line.
        """

        def keep(run: int) -> bool:
            return self.is_held_out(run) == held_out and run % shards == shard

        lines = read_runs(path, self.run_lines, keep)
        while batch := list(islice(lines, _LINES_PER_CALL)):
            yield from self.tokenizer(
                batch,
                add_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]

    def pack(self, documents: Iterable[list[int]]) -> Iterator[NDArray[np.int32]]:
        """Join tokenised lines and cut them into rows of ``block_size``, see ``pack``."""
        return pack(documents, self.block_size, self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)

    def first_held_out_rows(self, limit: int) -> list[dict[str, Any]]:
        """The first held-out rows of each file, without reading the files to their ends.

        Args:
            limit: rows per file.

        Returns:
            Rows with ``"input_ids"`` and ``"domain"``.

        Raises:
            ValueError: a file has no held-out text.
        """
        found: list[dict[str, Any]] = []
        for path in self.files:
            domain = domain_of(path)
            rows = [row | {"domain": self.domains.index(domain)} for row in islice(self.rows(path, True), limit)]
            if not rows:
                raise ValueError(self.no_rows(domain, held_out=True))
            found += rows
        return found


class PackedStream(IterableDataset[dict[str, Any]]):
    """Training rows without end, tokenised while they are read, for a corpus too large to be prepared.

    Args:
        corpus: the files and settings.
        shares: weight of each domain, relative to its files' size on disk; 1 where a domain is not named.
        buffer_rows: rows waiting in the shuffle buffer.
        seed: seed of the order.

    Raises:
        ValueError: a share is negative, or nothing is left; while reading: a domain yields no text.

    Note:
        Each dataloader worker reads the files but tokenises only its own runs of lines, and numbers its draws apart
        from the others'. On several processes ``accelerate`` reads on the first one and hands out the batches, so they
        are those of a run on one. Rows are all of full length. A resumed run reads again up to where it was.
    """

    def __init__(self, corpus: PackedCorpus, shares: Mapping[str, float], buffer_rows: int, seed: int) -> None:
        self.corpus, self.buffer_rows, self.seed = corpus, buffer_rows, seed
        self.files = {name: [path for path in corpus.files if domain_of(path) == name] for name in corpus.domains}
        self.weights = np.array(
            [shares.get(name, 1.0) * sum(path.stat().st_size for path in own) for name, own in self.files.items()]
        )
        if self.weights.min() < 0 or not self.weights.sum():
            raise ValueError(f"shares must not be negative, nor all text left out; got {dict(shares)}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        shard, shards = (worker.id, worker.num_workers) if worker else (0, 1)
        generator = np.random.default_rng([self.seed, shard])
        mixed = self._shuffled(self._mixed(generator, shard, shards), generator)
        for number, row in enumerate(mixed):
            yield {"input_ids": row, "draw": number * shards + shard}

    def _mixed(self, generator: np.random.Generator, shard: int, shards: int) -> Iterator[NDArray[np.int32]]:
        endless = [self.corpus.pack(self._endless(domain, shard, shards)) for domain in self.files]
        bounds = np.cumsum(self.weights) / self.weights.sum()
        while True:
            yield next(endless[int(np.searchsorted(bounds, generator.random(), side="right"))])

    def _endless(self, domain: str, shard: int, shards: int) -> Iterator[list[int]]:
        while True:
            empty = True
            for path in self.files[domain]:
                for document in self.corpus.documents(path, held_out=False, shard=shard, shards=shards):
                    empty = empty and not document
                    yield document
            if empty:
                raise ValueError(
                    f"domain {domain!r} yields no training text for dataloader worker {shard + 1} of {shards}; "
                    f"take shorter runs (now {self.corpus.run_lines} lines) or fewer workers"
                )

    def _shuffled(
        self, rows: Iterator[NDArray[np.int32]], generator: np.random.Generator
    ) -> Iterator[NDArray[np.int32]]:
        buffer = list(islice(rows, self.buffer_rows))
        for row in rows:
            slot = int(generator.integers(len(buffer)))
            yield buffer[slot]
            buffer[slot] = row
