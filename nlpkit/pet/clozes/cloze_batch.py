"""Batches of clozes: every example with as many masks as each of its label words needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlpkit.batches import refuse_no_rows
from nlpkit.pet.clozes.cloze import ClozeEncoder, pad_integers
from nlpkit.pet.clozes.examples import Example, label_number
from nlpkit.pet.clozes.verbalizer import LabelWord, Verbalizer, candidate_words
from nlpkit.pet.scoring import PADDING


class ClozeCollator:
    """Turns examples into the inputs of ``nlpkit.pet.classifiers.pet_classifier.PetClassifier``.

    Args:
        encoder: puts examples into the pattern.
        verbalizer: the label words; ``None`` where each example brings candidates of its own.

    Raises:
        ValueError: a label word does not fit the model or the pattern.

    Note:
        Label words of different length need different numbers of masks: each such number is a *variant* of the cloze,
        and all variants of all examples go through the model in one batch.
    """

    def __init__(self, encoder: ClozeEncoder, verbalizer: Verbalizer | None) -> None:
        self.encoder, self.verbalizer = encoder, verbalizer
        self._common = verbalizer.tokenized(encoder.tokenizer, encoder.pattern) if verbalizer else None
        self._candidates: dict[tuple[str, ...], list[LabelWord]] = {}

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate examples.

        Args:
            examples: at least one.

        Returns:
            ``input_ids``, ``attention_mask`` and ``token_type_ids`` of all variants of all examples,
            ``(batch * variants, length)``; ``slots``, the columns of the masks, ``(batch * variants, masks)``;
            ``tokens``, the ids that label words are made of, ``(tokens,)``; ``words``, each word's tokens as places in
            ``tokens``, ``(batch, words, masks)``; ``variants``, the one to read each word off, ``(batch, words)``;
            ``groups``, the words of each label, ``(labels, words of a label)``; ``labels``, -100 where unknown,
            ``(batch,)``. All but the inputs are padded with -1.

        Raises:
            ValueError: no examples, a label that the verbalizer lacks, a missing field, or candidates that are missing
                or alike to the model.
        """
        refuse_no_rows(examples)
        words = [self._words(example) for example in examples]
        mask_counts = sorted({word.mask_counts for own in words for word in own})
        by_variant = [self.encoder.encode(examples, counts) for counts in mask_counts]
        clozes = [variant[number] for number in range(len(examples)) for variant in by_variant]
        batch = self.encoder.pad(clozes)
        batch["slots"] = pad_integers([cloze.slots for cloze in clozes], PADDING)
        tokens = sorted({token for own in words for word in own for token in word.flat})
        place = {token: number for number, token in enumerate(tokens)}
        batch["tokens"] = torch.tensor(tokens)
        masks = batch["slots"].shape[1]
        most = max(len(own) for own in words)
        batch["words"] = torch.full((len(examples), most, masks), PADDING)
        batch["variants"] = torch.zeros((len(examples), most), dtype=torch.long)
        for number, own in enumerate(words):
            batch["words"][number, : len(own)] = pad_integers(
                [[place[token] for token in word.flat] for word in own], PADDING, masks
            )
            batch["variants"][number, : len(own)] = torch.tensor([mask_counts.index(word.mask_counts) for word in own])
        batch["groups"] = self._groups(most)
        batch["labels"] = torch.tensor([label_number(example, self.labels) for example in examples])
        return batch

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where examples bring candidates of their own."""
        return self.verbalizer.labels if self.verbalizer else ()

    def right_word(self, example: Example) -> LabelWord:
        """The first word of an example's label.

        Raises:
            ValueError: the example has no label, or an unknown one.
        """
        number = label_number(example, self.labels)
        found = next((word for word in self._words(example) if word.label == number), None)
        if found is None:
            raise ValueError(f"the example {dict(example.fields)!r} has no label")
        return found

    def first_words(self) -> list[LabelWord]:
        """The first word of each label; none where examples bring candidates of their own."""
        words = self._common or []
        return [next(word for word in words if word.label == number) for number in range(len(self.labels))]

    def _words(self, example: Example) -> list[LabelWord]:
        if self._common is not None:
            return self._common
        if example.candidates not in self._candidates:
            found = candidate_words(example.candidates, self.encoder.tokenizer, self.encoder.pattern)
            self._candidates[example.candidates] = found
        return self._candidates[example.candidates]

    def _groups(self, candidates: int) -> Tensor:
        if self._common is None:
            return torch.arange(candidates)[:, None]
        members: list[list[int]] = [[] for _ in self.labels]
        for number, word in enumerate(self._common):
            members[word.label].append(number)
        return pad_integers(members, PADDING)
