"""Pairs of a source and a target text: read from files, and as rows of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import datasets

from nlpkit.data.corpus import Corpus
from nlpkit.data.text_corpus import domain_of
from nlpkit.text_files import read_lines, read_records

Pair = dict[str, str]

_PAIRS_PER_CALL = 1000
#: Part of the cache's key: raise it when rows are made differently.
_FORMAT = 1


def read_pairs(
    path: str | Path,
    columns: Sequence[str] = ("source", "target"),
    *,
    source: str = "source",
    target: str = "target",
) -> list[Pair]:
    """Sources and targets of a file, without rows in which one of them is blank.

    Args:
        path: JSON lines or ``.csv`` with a source and a target, or ``.tsv`` without a head.
        columns: what those of a ``.tsv`` file are called, in their order.
        source: the name of the texts to read.
        target: the name of those to write.

    Returns:
        Dictionaries with ``"source"`` and ``"target"``.

    Raises:
        ValueError: a row has no source or no target; the message names file and line. Or nothing is left.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "titles.tsv")
        ...     _ = path.write_text("天气\\t今天天气很好。\\n", encoding="utf-8")
        ...     read_pairs(path, columns=["target", "source"])
        [{'source': '今天天气很好。', 'target': '天气'}]
    """
    if ".tsv" not in Path(path).suffixes:
        rows = ((number, row) for number, row in read_records(path))
    else:
        lines = ((number, line.split("\t")) for number, line in enumerate(read_lines(path), start=1) if line.strip())
        rows = ((number, dict(zip(columns, cells, strict=False))) for number, cells in lines)
    pairs = []
    for number, row in rows:
        if lacking := [name for name in (source, target) if not isinstance(row.get(name), str)]:
            raise ValueError(
                f"{path}, line {number} has no text {lacking[0]!r}; it has {', '.join(row)}: say which are source and "
                "target"
            )
        if row[source].strip() and row[target].strip():
            pairs.append({"source": row[source], "target": row[target]})
    if not pairs:
        raise ValueError(f"{path} holds no pairs of a source and a target")
    return pairs


@dataclass(frozen=True)
class PairCorpus(Corpus):
    """Files of pairs as rows of a source and a target, each with the tokenizer's end of sequence.

    Args:
        files: JSON lines with ``source`` and ``target``; a file's name up to the first dot is its domain.
        tokenizer: with an end of sequence.
        source_length: tokens of a source; ends of longer ones are dropped.
        target_length: tokens of a target; pairs with longer ones are left out, since a text that breaks off is nothing
            to learn to write.
        prefixes: by domain, what stands before each source.
        run_lines: pairs per run; whole runs are held out.
        held_out_every: the first of so many runs of each file is held out for evaluation.

    Raises:
        ValueError: a setting is out of range, or a prefix is of no domain.
    """

    source_length: int
    target_length: int
    prefixes: Mapping[str, str] = field(default_factory=dict)

    features = datasets.Features(
        {name: datasets.List(datasets.Value("int32")) for name in ("input_ids", "labels")}
        | {"domain": datasets.Value("int32")}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.source_length, self.target_length) < 2:
            raise ValueError(
                f"source_length={self.source_length} and target_length={self.target_length} must be at least 2, a "
                "token and the end of the sequence"
            )

    def settings(self) -> tuple[Any, ...]:
        """The version of the format, lengths and prefixes."""
        return type(self).__name__, _FORMAT, self.source_length, self.target_length, sorted(self.prefixes.items())

    def pairs(self, path: Path, held_out: bool) -> Iterator[Pair]:
        """The pairs of a file's held-out or training part."""
        for number, pair in enumerate(read_pairs(path)):
            if self.is_held_out(number // self.run_lines) == held_out:
                yield pair

    def rows(self, path: Path, held_out: bool) -> Iterator[dict[str, Any]]:
        """The encoded pairs of a file."""
        prefix, end = self.prefixes.get(domain_of(path), ""), int(self.tokenizer.eos_token_id)
        pairs = self.pairs(path, held_out)
        while batch := list(islice(pairs, _PAIRS_PER_CALL)):
            sources = self.encode([prefix + pair["source"] for pair in batch])
            targets = self.encode([pair["target"] for pair in batch])
            for source, target in zip(sources, targets, strict=True):
                if len(target) < self.target_length:
                    yield {"input_ids": [*source[: self.source_length - 1], end], "labels": [*target, end]}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids without special ones; not cut, since that would change the tokenizer, and the fingerprint."""
        found = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [list(ids) for ids in found["input_ids"]]

    def no_rows(self, domain: str, held_out: bool) -> str:
        """What to tell where a domain yields no rows of a part."""
        part = "held-out" if held_out else "training"
        return (
            f"domain {domain!r} yields no {part} pairs whose target has up to {self.target_length} tokens: the first "
            f"of every {self.held_out_every} runs of {self.run_lines} is held out; check the file, or shorten runs"
        )
