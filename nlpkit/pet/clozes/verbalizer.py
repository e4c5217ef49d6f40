"""Label words: which words stand for which label, and their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase

from nlpkit.pet.clozes.pattern import Pattern

#: A word for each slot of the pattern.
Words = tuple[str, ...]
#: Token ids of the word in each slot.
SlotTokens = tuple[tuple[int, ...], ...]

Order = Literal["parallel", "most_confident_first", "left_to_right"]
LengthNormalization = Literal["none", "mean"]
Aggregate = Literal["mean", "logsumexp", "max"]


@dataclass(frozen=True)
class LabelWord:
    """A label word in the tokens of a model: the label's number, and the tokens of each slot."""

    label: int
    tokens: SlotTokens

    @property
    def mask_counts(self) -> tuple[int, ...]:
        """How many masks each slot needs for this word."""
        return tuple(len(slot) for slot in self.tokens)

    @property
    def flat(self) -> tuple[int, ...]:
        """All tokens in reading order."""
        return tuple(token for slot in self.tokens for token in slot)


class Verbalizer:
    """The words that stand for each label, and how words of several tokens are scored.

    Source: PET (Schick and Schuetze, 2021, arXiv 2001.07676, section 3.1; several tokens: arXiv 2009.07118, section
        3.1).

    Args:
        words: label to a word or several; for patterns with several slots, a word is a tuple with one part per slot.
        order: how a word of several tokens is read off. ``"parallel"``: all its masks at once, the tokens taken as
            independent (one forward pass). ``"most_confident_first"``: the mask whose token is most probable is filled
            in, the others are asked again, and so on; ``"left_to_right"``: likewise in reading order. Both cost one
            forward pass per token and word, and serve prediction only; training is always parallel.
        length_normalization: ``"none"`` is the product of the tokens' probabilities, which favours short words;
            ``"mean"`` their geometric mean, the fair choice between words of different length.
        aggregate: the score of a label with several words: ``"mean"`` of their log-probabilities as in PET,
            ``"logsumexp"`` of them (their joint probability mass), or ``"max"``.

    Raises:
        ValueError: no labels, a label without words, two labels with the same words, or an unknown option.

    Example:
        >>> verbalizer = Verbalizer({"Positive": ["很", "非常"], "Negative": "不"})
        >>> verbalizer.labels, verbalizer.words["Positive"]
        (('Positive', 'Negative'), (('很',), ('非常',)))
    """

    def __init__(
        self,
        words: Mapping[str, str | Sequence[str | Sequence[str]]],
        order: Order = "parallel",
        length_normalization: LengthNormalization = "mean",
        aggregate: Aggregate = "mean",
    ) -> None:
        for name, value, kind in (
            ("order", order, Order),
            ("length_normalization", length_normalization, LengthNormalization),
            ("aggregate", aggregate, Aggregate),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(map(repr, get_args(kind)))}")
        if not isinstance(words, Mapping):
            raise TypeError(f"words must map each label to its words; got {words!r}")
        self.words = {str(label): _word_tuples(str(label), given) for label, given in words.items()}
        if len(self.words) < 2:
            raise ValueError(f"a verbalizer needs words for at least two labels; got {sorted(self.words)}")
        owners: dict[frozenset[Words], str] = {}
        for label, own in self.words.items():
            first = owners.setdefault(frozenset(own), label)
            if first != label:
                raise ValueError(
                    f"labels {first!r} and {label!r} have the same words {_show(own)}; nothing tells them apart"
                )
        self.order, self.length_normalization, self.aggregate = order, length_normalization, aggregate

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return tuple(self.words)

    def to_dict(self) -> dict[str, Any]:
        """Settings that make the same verbalizer again: ``Verbalizer(**settings)``."""
        words = {
            label: [list(word) if len(word) > 1 else word[0] for word in own] for label, own in self.words.items()
        }
        return {
            "words": words,
            "order": self.order,
            "length_normalization": self.length_normalization,
            "aggregate": self.aggregate,
        }

    def tokenized(self, tokenizer: PreTrainedTokenizerBase, pattern: Pattern) -> list[LabelWord]:
        """All words in a model's tokens, label by label.

        Args:
            tokenizer: of the model.
            pattern: a label word is a different token at the beginning of a word than within one, which its text
                tells.

        Raises:
            ValueError: a word is unknown to the model, or does not have one part for each slot of the pattern.
        """
        return [
            LabelWord(number, tokenize_word(word, tokenizer, pattern))
            for number, own in enumerate(self.words.values())
            for word in own
        ]

    def __repr__(self) -> str:
        return f"Verbalizer({self.to_dict()['words']})"


def tokenize_word(
    word: Words, tokenizer: PreTrainedTokenizerBase, pattern: Pattern, allow_unknown: bool = False
) -> SlotTokens:
    """Token ids of a word, one tuple per slot of the pattern.

    Args:
        word: one part per slot.
        tokenizer: of the model.
        pattern: tells what stands before each slot.
        allow_unknown: let the unknown token stand for what the model cannot write, for words not chosen for it.

    Raises:
        ValueError: a part is unknown to the model, or the number of parts is not that of the slots.
    """
    if len(word) != pattern.slots:
        raise ValueError(
            f"pattern {pattern.template!r} has {pattern.slots} slots, but the label word {_show([word])} has "
            f"{len(word)} parts"
        )
    return tuple(
        _tokenize_part(part, tokenizer, before[-1:].isspace(), allow_unknown)
        for part, before in zip(word, pattern.text_before_slots(), strict=True)
    )


def _tokenize_part(
    part: str, tokenizer: PreTrainedTokenizerBase, after_space: bool, allow_unknown: bool
) -> tuple[int, ...]:
    unknown = tokenizer.unk_token_id
    if not after_space:
        # A word of the vocabulary is one token whatever a segmenter or a word-initial marker would make of it alone.
        whole = tokenizer.convert_tokens_to_ids(part)
        if isinstance(whole, int) and whole != unknown:
            return (whole,)
    ids: list[int] = tokenizer(f" {part}" if after_space else part, add_special_tokens=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    if len(ids) > 1 and tokens[0] == "▁" and not after_space:
        ids = ids[1:]
    if not ids or (unknown in ids and not allow_unknown):
        raise ValueError(
            f"label word {part!r} is {tokenizer.unk_token or 'empty'} to this model; choose a word that its tokenizer "
            f"knows (it sees {tokens})"
        )
    return tuple(ids)


def _word_tuples(label: str, given: str | Iterable[str | Sequence[str]]) -> tuple[Words, ...]:
    if not isinstance(given, Iterable):
        raise TypeError(f"the words of label {label!r} must be texts; got {given!r}")
    words = [given] if isinstance(given, str) else list(given)
    tuples = tuple(dict.fromkeys((word,) if isinstance(word, str) else tuple(word) for word in words))
    if not tuples or not all(part for word in tuples for part in word):
        raise ValueError(f"label {label!r} has no words, or an empty one; give at least one word to each label")
    if not all(isinstance(part, str) for word in tuples for part in word):
        raise TypeError(f"the words of label {label!r} must be texts; got {given!r}")
    return tuples


def _show(words: Iterable[Words]) -> str:
    return ", ".join(repr("+".join(word)) for word in words)
