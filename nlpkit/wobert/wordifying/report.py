"""What ``wordify`` did to a model, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nlpkit.wobert.words.reachability import some_tokens

if TYPE_CHECKING:
    from rich.table import Table
    from transformers import BatchEncoding

    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
    from nlpkit.wobert.wordifying.row_distillation import DistillationReport


@dataclass(frozen=True)
class TextReport:
    """The two tokenizers on the same texts.

    Args:
        texts: how many.
        characters: of all texts.
        source_tokens: tokens of the source tokenizer, special tokens left out.
        word_tokens: tokens of the word tokenizer, special tokens left out.
        source_unknown: how many of the source's tokens are unknown.
        word_unknown: how many of the word tokenizer's tokens are unknown.
        words: words that the segmenter found and the word tokenizer reads, so without white space.
        covered_words: how many of them are one token, and a known one.
    """

    texts: int
    characters: int
    source_tokens: int
    word_tokens: int
    source_unknown: int
    word_unknown: int
    words: int
    covered_words: int

    @property
    def token_ratio(self) -> float:
        """Word tokens per source token."""
        return self.word_tokens / self.source_tokens

    @property
    def unknown_rate_before(self) -> float:
        """Share of the source's tokens that are unknown."""
        return self.source_unknown / self.source_tokens

    @property
    def unknown_rate_after(self) -> float:
        """Share of the word tokenizer's tokens that are unknown."""
        return self.word_unknown / self.word_tokens

    @property
    def coverage(self) -> float:
        """Share of the segmenter's words that are one token."""
        return self.covered_words / self.words


@dataclass(frozen=True)
class WordifyReport:
    """What became of a model.

    Args:
        source: class of the source model.
        target: class of the word model.
        parameters_before: of the source, shared ones counted once.
        parameters_after: of the word model, shared ones counted once.
        vocabulary_before: rows of the source's input embedding.
        vocabulary_after: rows of the word model's.
        kept_rows: rows copied from one source piece.
        new_rows: rows that are the mean of several source pieces.
        unknown_tokens: tokens of which the source knows no piece; their rows start at the source's unknown token's.
        layers_before: encoder layers of the source.
        layers: indices of those kept.
        fresh_head: the source brought no MLM head, the new one is initialised at random (decoder tied).
        head_bias: where the MLM output bias comes from: ``"source"``, ``"zero"``, ``"token counts"``, or ``"none"``
            for a model without MLM head or whose head has no bias.
        dropped: parts of the source that the word model has no place for.
        texts: the tokenizers compared on the given texts, if any were.
        unreachable_tokens: tokens that no text becomes, because the segmenter never cuts them, normalisation changes
            them, or nothing can precede their ``##``; special tokens aside.
        unreachable_new_rows: how many of ``new_rows`` are theirs.
        donor_rows: how many of ``new_rows`` come from a donor that knows the word.
        distillation: how the new rows were learnt, if they were.

    Example:
        >>> report = WordifyReport("BertModel", "WoBertForMaskedLM", 900, 800, 40, 30, 21, 8, ("龘",), 3, (0, 2), True,
        ...                        "zero", ("pooler",), None, ("量子纠缠",), 1)
        >>> print(report)
        model        BertModel -> WoBertForMaskedLM
        parameters   900 -> 800
        layers       3 -> 2: 0, 2
        vocabulary   40 -> 30
        rows         21 kept, 8 new (means of their pieces), 1 unknown to the source (its unknown row): 龘
        unreachable  1 token, 1 of the new rows: 量子纠缠
        MLM head     fresh, at random, tied to the embedding; bias: zero
        dropped      pooler
    """

    source: str
    target: str
    parameters_before: int
    parameters_after: int
    vocabulary_before: int
    vocabulary_after: int
    kept_rows: int
    new_rows: int
    unknown_tokens: tuple[str, ...]
    layers_before: int
    layers: tuple[int, ...]
    fresh_head: bool
    head_bias: str
    dropped: tuple[str, ...]
    texts: TextReport | None
    unreachable_tokens: tuple[str, ...] = ()
    unreachable_new_rows: int = 0
    donor_rows: int = 0
    distillation: DistillationReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, as JSON can store them; those of the texts under ``texts``, their rates included."""
        figures = asdict(self)
        if self.texts is not None:
            for rate in ("token_ratio", "unknown_rate_before", "unknown_rate_after", "coverage"):
                figures["texts"][rate] = getattr(self.texts, rate)
        return figures

    def lines(self) -> list[tuple[str, str]]:
        """The report as pairs of a label and a sentence."""
        head = "fresh, at random, tied to the embedding" if self.fresh_head else "of the source"
        origin = (
            f"means of their pieces, {self.donor_rows:,} from the donor"
            if self.donor_rows
            else "means of their pieces"
        )
        rows = f"{self.kept_rows:,} kept, {self.new_rows:,} new ({origin})"
        if self.unknown_tokens:
            rows += f", {len(self.unknown_tokens):,} unknown to the source (its unknown row): "
            rows += some_tokens(self.unknown_tokens)
        lines = [
            ("model", f"{self.source} -> {self.target}"),
            ("parameters", f"{self.parameters_before:,} -> {self.parameters_after:,}"),
            ("layers", f"{self.layers_before} -> {len(self.layers)}: {', '.join(map(str, self.layers))}"),
            ("vocabulary", f"{self.vocabulary_before:,} -> {self.vocabulary_after:,}"),
            ("rows", rows),
            ("MLM head", "none" if self.head_bias == "none" else f"{head}; bias: {self.head_bias}"),
        ]
        if self.unreachable_tokens:
            count = len(self.unreachable_tokens)
            unreachable = (
                f"{count:,} {'token' if count == 1 else 'tokens'}, {self.unreachable_new_rows:,} of the new rows"
            )
            lines.insert(5, ("unreachable", f"{unreachable}: {some_tokens(self.unreachable_tokens)}"))
        if self.distillation is not None:
            lines.append(("distilled", str(self.distillation)))
        if self.dropped:
            lines.append(("dropped", ", ".join(self.dropped)))
        return lines + ([] if self.texts is None else _text_lines(self.texts))

    def __str__(self) -> str:
        return "\n".join(f"{label:<12} {sentence}" for label, sentence in self.lines())

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        for label, sentence in self.lines():
            # Tokens look like rich's markup: [MASK].
            table.add_row(Text(label, style="bold"), Text(sentence))
        return table


def compare_tokenizers(texts: Iterable[str], source: Any, words: WoBertTokenizer) -> TextReport:
    """Run two tokenizers over the same texts.

    Args:
        texts: any texts; they are held in memory.
        source: a transformers tokenizer.
        words: the word tokenizer.

    Raises:
        TypeError: ``texts`` is one string, or holds what is no string.
        ValueError: there are no texts, or nothing in them that both tokenizers see.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one str; give a list of texts, e.g. [text]")
    sample = list(texts)
    rows = words(sample, add_special_tokens=False, verbose=False)
    after = _tokens(rows)
    before = _tokens(source(sample, add_special_tokens=False, verbose=False)) if after else []
    if not before:
        raise ValueError("texts hold no tokens to compare the tokenizers on; give real texts or leave texts=None")
    placed = [(row, word) for row in range(len(sample)) for word in rows.word_ids(row)]  # (tokens,)
    lengths = Counter(placed)
    known_alone = [
        number != words.unk_token_id and lengths[word] == 1 for number, word in zip(after, placed, strict=True)
    ]
    return TextReport(
        texts=len(sample),
        characters=sum(map(len, sample)),
        source_tokens=len(before),
        word_tokens=len(after),
        source_unknown=before.count(source.unk_token_id),
        word_unknown=after.count(words.unk_token_id),
        words=len(lengths),
        covered_words=sum(known_alone),
    )


def _tokens(rows: BatchEncoding) -> list[int]:
    return [number for row in rows.get("input_ids", []) for number in row]


def _text_lines(texts: TextReport) -> list[tuple[str, str]]:
    return [
        ("texts", f"{texts.texts:,} of {texts.characters:,} characters"),
        ("tokens", f"{texts.source_tokens:,} -> {texts.word_tokens:,}: ratio {texts.token_ratio:.3f}"),
        ("unknown", f"{texts.unknown_rate_before:.3%} -> {texts.unknown_rate_after:.3%} of the tokens"),
        ("coverage", f"{texts.coverage:.1%} of the words are one token"),
    ]
