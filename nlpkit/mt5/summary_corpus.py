"""Text files as rows to pre-train a summariser on: what is left of a document, and its pseudo-summary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlpkit.data import Pair, PairCorpus, domain_of, read_whole_runs
from nlpkit.mt5.pseudo_summaries import pseudo_summary, split_sentences


@dataclass(frozen=True)
class SummaryCorpus(PairCorpus):
    """Text files as rows of documents and their pseudo-summaries.

    A document is as many neighbouring sentences of one run of lines as make ``source_length`` tokens beside its
    summary; it ends with a line, though, once it is half as long.

    Source: T5-PEGASUS (kexue.fm/archives/8209).

    Args:
        files: ``.txt``, ``.gz`` or ``.xz`` files, one paragraph per line; a file's stem is its domain.
        tokenizer: with an end of sequence.
        source_length: tokens of what is left of a document, the end of the sequence included.
        target_length: tokens of a summary; documents with longer ones are left out.
        prefixes: by domain, what stands before each source.
        summary_share: of a document's characters that its summary has at least.
        run_lines: lines per run; whole runs are held out.
        held_out_every: the first of so many runs of each file is held out for evaluation.

    Raises:
        ValueError: a setting is out of range.

    Note:
        Where a file's neighbouring lines have nothing to do with each other, such as reviews, neither has the summary
        with its source: leave such files out.
    """

    summary_share: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        pseudo_summary("", self.summary_share)  # refuses what is out of range

    def settings(self) -> tuple[Any, ...]:
        """Those of pairs, and the share."""
        return *super().settings(), self.summary_share

    def pairs(self, path: Path, held_out: bool) -> Iterator[Pair]:
        """The documents of a file's held-out or training part, those of one sentence left out."""
        room = int((self.source_length - 1) / (1 - self.summary_share))
        room -= len(self.encode([self.prefixes.get(domain_of(path), "")])[0])
        for lines in read_whole_runs(path, self.run_lines, lambda run: self.is_held_out(run) == held_out):
            for document in self._documents(lines, room):
                found = pseudo_summary(document, self.summary_share)
                if found is not None:
                    yield {"source": found.source, "target": found.summary}

    def _documents(self, lines: list[str], room: int) -> Iterator[str]:
        sentences = [sentence for line in lines for sentence in split_sentences(line)]
        lengths = iter(map(len, self.encode(sentences)))
        document, tokens = "", 0
        for line in lines:
            for sentence in split_sentences(line):
                length = next(lengths)
                if tokens + length > room:
                    yield document
                    document, tokens = "", 0
                document, tokens = document + sentence, tokens + length
            if tokens >= room / 2:
                yield document
                document, tokens = "", 0
        yield document

    def no_rows(self, domain: str, held_out: bool) -> str:
        """What to tell where a domain yields no rows of a part."""
        part = "held-out" if held_out else "training"
        return (
            f"domain {domain!r} yields no {part} pseudo-summaries of up to {self.target_length} tokens: they need "
            f"documents of two sentences at least; leave the domain out, or allow longer summaries. The first of "
            f"every {self.held_out_every} runs of {self.run_lines} lines is held out"
        )
