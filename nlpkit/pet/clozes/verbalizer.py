"""Label words: which words stand for which label, and their tokens."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase

from nlpkit.pet.clozes.commas import split_at_commas
from nlpkit.pet.clozes.examples import Label, given_labels
from nlpkit.pet.clozes.label_tokens import (
    SlotTokens,
    Words,
    first_alike,
    refuse_alike_candidates,
    show_words,
    tokenize_word,
)
from nlpkit.pet.clozes.pattern import Pattern

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
        words: label (a text or a number) to a word or a list of several, in which one given twice counts once; for
            patterns with several slots, a word is a tuple with one part per slot.
        order: how a word of several tokens is read off. ``"parallel"``: all its masks at once, the tokens taken as
            independent (one forward pass). ``"most_confident_first"``: the mask whose token is most probable is filled
            in, the others are asked again, and so on; ``"left_to_right"``: likewise in reading order. Both cost one
            forward pass per token and word, and serve prediction only; training is always parallel.
        length_normalization: ``"none"`` is the product of the tokens' probabilities, which favours short words;
            ``"mean"`` their geometric mean, the fair choice between words of different length.
        aggregate: the score of a label with several words: ``"mean"`` of their log-probabilities as in PET,
            ``"logsumexp"`` of them (their joint probability mass), or ``"max"``.

    Raises:
        TypeError: the words are no mapping.
        ValueError: no labels, one that is missing (``None``, NaN), a label without words, two labels with the same
            words or of the same name, or an unknown option.

    Example:
        >>> verbalizer = Verbalizer({"Positive": ["很", "非常"], "Negative": "不"})
        >>> verbalizer.labels, verbalizer.words["Positive"]
        (('Positive', 'Negative'), (('很',), ('非常',)))
    """

    def __init__(
        self,
        words: Mapping[Any, str | Sequence[str | Sequence[str]]],
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
            raise TypeError(f"a verbalizer's words must map each label to its words; got {words!r}")
        #: The labels as they were given: numbers, perhaps.
        self.classes: tuple[Label, ...] = given_labels(words)
        self.words = {
            str(label): _word_tuples(str(label), given)
            for label, given in zip(self.classes, words.values(), strict=True)
        }
        if len(self.words) < 2:
            raise ValueError(f"a verbalizer needs words for at least two labels; got {sorted(self.words)}")
        if alike := first_alike(frozenset(own) for own in self.words.values()):
            first, second = (self.labels[place] for place in alike)
            raise ValueError(
                f"labels {first!r} and {second!r} have the same words {show_words(self.words[second])}; nothing tells "
                "them apart"
            )
        self.order, self.length_normalization, self.aggregate = order, length_normalization, aggregate

    @classmethod
    def of(cls, given: Verbalizer | Mapping[Any, Any]) -> Verbalizer:
        """A verbalizer, or that of a mapping of labels to words."""
        return given if isinstance(given, Verbalizer) else cls(given)

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
            ValueError: a word is unknown to the model, or does not have one part for each slot of the pattern; or two
                labels have words that are the same tokens.

        Warns:
            UserWarning: a word with a comma in it, or one that stands under two labels.
        """
        found = [
            LabelWord(number, tokenize_word(word, tokenizer, pattern))
            for number, own in enumerate(self.words.values())
            for word in own
        ]
        numbers = range(len(self.labels))
        if alike := first_alike(frozenset(word.tokens for word in found if word.label == one) for one in numbers):
            first, second = (self.labels[place] for place in alike)
            raise ValueError(
                f"the words of labels {first!r} and {second!r}, {show_words(self.words[first])} and "
                f"{show_words(self.words[second])}, are the same tokens to this model; nothing tells them apart"
            )
        self._warn_of_slips(found)
        return found

    def _warn_of_slips(self, found: Sequence[LabelWord]) -> None:
        """Say, to the caller's caller, that a word may be meant to be several, or that it stands under two labels."""
        owners: dict[SlotTokens, int] = {}
        words = [word for own in self.words.values() for word in own]
        for word, tokenized in zip(words, found, strict=True):
            for part in word:
                if len(parts := [one for one in split_at_commas(part) if one]) > 1:
                    warnings.warn(
                        f"label word {part!r} holds a comma and is read as one word; give several as a list: {parts}",
                        stacklevel=3,
                    )
            first = owners.setdefault(tokenized.tokens, tokenized.label)
            if first != tokenized.label:
                warnings.warn(
                    f"label word {show_words([word])} stands under both {self.labels[first]!r} and "
                    f"{self.labels[tokenized.label]!r}, which it does not tell apart; leave it out of one",
                    stacklevel=3,
                )

    def __repr__(self) -> str:
        return f"Verbalizer({self.to_dict()['words']})"


def candidate_words(
    candidates: Sequence[str], tokenizer: PreTrainedTokenizerBase, pattern: Pattern
) -> list[LabelWord]:
    """The words among which an example chooses, in a model's tokens, unknown ones among them.

    Args:
        candidates: of the example; each stands in every slot.
        tokenizer: of the model.
        pattern: as for ``Verbalizer.tokenized``.

    Raises:
        ValueError: there are fewer than two, or two that the model reads alike.
    """
    if len(candidates) < 2:
        raise ValueError(f"without a verbalizer each example needs candidates to choose from; got {candidates!r}")
    tokens = [tokenize_word((word,) * pattern.slots, tokenizer, pattern, allow_unknown=True) for word in candidates]
    found = [LabelWord(number, own) for number, own in enumerate(tokens)]
    refuse_alike_candidates(candidates, [word.flat for word in found], tokenizer)
    return found


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
