"""Text files as packed rows of token ids: once into a cached Arrow data set, or on the fly as a stream."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerBase

from nlpkit.data.packing import pack
from nlpkit.data.text_corpus import domain_of, read_runs
from nlpkit.text_files import read_lines

_LINES_PER_CALL = 1000
#: Part of the cache's key: raise it when rows are made differently.
_FORMAT = 1
_FEATURES = datasets.Features({"input_ids": datasets.List(datasets.Value("int32")), "domain": datasets.Value("int32")})


@dataclass(frozen=True)
class PackedCorpus:
    """Text files, the tokenizer and the settings that turn the one by the other into rows.

    Args:
        files: ``.txt``, ``.gz`` or ``.xz`` files, one paragraph per line; a file's stem is its domain.
        tokenizer: any tokenizer with ``[CLS]`` and ``[SEP]``.
        block_size: tokens per row.
        run_lines: lines per run; whole runs are held out.
        held_out_every: the first of so many runs of each file is held out for evaluation.

    Raises:
        ValueError: a setting is out of range.
    """

    files: list[Path]
    tokenizer: PreTrainedTokenizerBase
    block_size: int
    run_lines: int = 32
    held_out_every: int = 100

    def __post_init__(self) -> None:
        if self.run_lines < 1 or self.held_out_every < 2:
            raise ValueError(
                "run_lines must be at least 1 and held_out_every at least 2, or no text is left to train on; "
                f"got {self.run_lines} and {self.held_out_every}"
            )

    @property
    def domains(self) -> list[str]:
        """The names of the domains, sorted; a row's ``"domain"`` is the index of one."""
        return sorted({domain_of(path) for path in self.files})

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
            return (run % self.held_out_every == 0) == held_out and run % shards == shard

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

    def dataset(self, held_out: bool, num_proc: int | None = None, cache_dir: str | None = None) -> datasets.Dataset:
        """All rows of the held-out or the training part, from the cache where they were made before.

        Args:
            held_out: which part.
            num_proc: processes to tokenise with, at most one per file.
            cache_dir: where the Arrow files lie; by default in the cache of ``datasets``.

        Returns:
            A data set with columns ``input_ids`` and ``domain``.

        Raises:
            ValueError: a domain has no text in this part.
        """
        try:
            rows = datasets.Dataset.from_generator(
                _generate,
                features=_FEATURES,
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
        present = set(rows.unique("domain"))
        for index, domain in enumerate(self.domains):
            if index not in present:
                raise ValueError(self._no_text(domain, held_out))
        return rows

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
            rows = list(islice(_generate(self, True, [path]), limit))
            if not rows:
                raise ValueError(self._no_text(domain_of(path), held_out=True))
            found += rows
        return found

    def fingerprint(self, held_out: bool) -> str:
        """A hash of the files' contents, the tokenizer and the settings, by which the cache knows the rows."""
        settings = (_FORMAT, self.block_size, self.run_lines, self.held_out_every, held_out)
        contents = [(domain_of(path), _digest(path)) for path in self.files]
        return str(datasets.fingerprint.Hasher.hash((settings, contents, self.tokenizer)))

    def _read_through(self) -> None:
        for path in self.files:
            deque(read_lines(path), maxlen=0)

    def _no_text(self, domain: str, held_out: bool) -> str:
        part = "held-out" if held_out else "training"
        return (
            f"domain {domain!r} yields no {part} text: the first of every {self.held_out_every} runs of "
            f"{self.run_lines} lines is held out; check the file, or take shorter runs"
        )


def _generate(corpus: PackedCorpus, held_out: bool, paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        domain = corpus.domains.index(domain_of(path))
        for row in corpus.pack(corpus.documents(path, held_out)):
            yield {"input_ids": row, "domain": domain}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
