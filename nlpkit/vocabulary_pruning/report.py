"""What pruning did, and how it was seen to be right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TextChanges:
    """How texts are cut before and after.

    Args:
        texts: that were read.
        tokens_before: of the old tokenizer.
        tokens_after: of the new one.
        kept: of the old tokens, those that the new vocabulary has.
        changed: texts that the new tokenizer cuts otherwise.
    """

    texts: int
    tokens_before: int
    tokens_after: int
    kept: int
    changed: int

    @property
    def coverage(self) -> float:
        """Share of the old tokens that were kept."""
        return self.kept / max(1, self.tokens_before)


@dataclass(frozen=True)
class PruningReport:
    """What ``prune_vocabulary`` and ``prune_folder`` did.

    Args:
        kind: of the tokenizer's model.
        tokens_before: of the old tokenizer.
        tokens_after: of the new one.
        rows_before: of the model.
        rows_after: of the new one.
        parameters_before: each weight counted once.
        parameters_after: likewise.
        bytes_before: of the weights.
        bytes_after: likewise.
        corpus: a sample of the texts that were counted.
        held_out: other texts, where they were given.
        difference: between the states or logits over kept ids before and after, the largest; ``None`` where the
            models were not run.

    Example:
        >>> print(PruningReport("BPE", 300, 200, 304, 200, 9000, 7000, 36000, 28000, None,
        ...                     TextChanges(9, 50, 52, 48, 1)))
        tokenizer    BPE, 300 -> 200 tokens
        rows         304 -> 200
        parameters   9,000 -> 7,000 (-22.2 %)
        bytes        36,000 -> 28,000
        held out     9 texts: 96.00 % of 50 tokens kept, 1 text cut otherwise, 52 tokens now
    """

    kind: str
    tokens_before: int
    tokens_after: int
    rows_before: int
    rows_after: int
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    corpus: TextChanges | None
    held_out: TextChanges | None
    difference: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, as JSON can store them."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """The report as pairs of a label and a sentence."""
        less = 1 - self.parameters_after / max(1, self.parameters_before)
        lines = [
            ("tokenizer", f"{self.kind}, {self.tokens_before:,} -> {self.tokens_after:,} tokens"),
            ("rows", f"{self.rows_before:,} -> {self.rows_after:,}"),
            (
                "parameters",
                f"{self.parameters_before:,} -> {self.parameters_after:,} (-{less:.1%})".replace("%", " %"),
            ),
            ("bytes", f"{self.bytes_before:,} -> {self.bytes_after:,}"),
        ]
        lines += [
            (label, _sentence(texts, sampled))
            for label, texts, sampled in (("corpus", self.corpus, "a sample of "), ("held out", self.held_out, ""))
            if texts is not None
        ]
        if self.difference is not None:
            lines.append(("difference", f"{self.difference:.2g} at most, over kept ids"))
        return lines

    def __str__(self) -> str:
        return "\n".join(f"{label:<12} {sentence}" for label, sentence in self.lines())


def _sentence(texts: TextChanges, sampled: str) -> str:
    read, changed = (f"{count:,} {'text' if count == 1 else 'texts'}" for count in (texts.texts, texts.changed))
    share = f"{texts.coverage:.2%}".replace("%", " %")
    tokens = f"{share} of {texts.tokens_before:,} tokens kept"
    return f"{sampled}{read}: {tokens}, {changed} cut otherwise, {texts.tokens_after:,} tokens now"
