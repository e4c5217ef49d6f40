"""LM-BFF: every input is followed by one solved example of each label."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.pet.classifiers.heads import encode_texts
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.cloze import Cloze, ClozeEncoder, filled
from nlpkit.pet.clozes.cloze_batch import ClozeCollator
from nlpkit.pet.clozes.examples import Example, label_number
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.pet.training_rows import TrainingRow

#: Texts to vectors ``(texts, dimension)``.
TextEncoder = Callable[[list[str]], Tensor]


class DemonstratedClassifier(PetClassifier):
    """A prompted classifier that sees one solved example of each label behind every input.

    Source: LM-BFF (Gao et al., 2021, arXiv 2012.15723, section 5): demonstrations are drawn from the training examples
    most similar to the input, anew at each training step; predictions are averaged over several draws.

    Args:
        model: as for ``PetClassifier``, like the following three.
        tokenizer: likewise.
        pattern: likewise.
        verbalizer: likewise; the first word of each label stands in the demonstrations.
        support: labelled examples to draw from.
        samplings: draws that a prediction averages over.
        demonstration_length: tokens a demonstration may have; of longer ones the fields are cut.
        text_encoder: makes the vectors whose cosine is the similarity, e.g. from ``mean_states``; ``None`` draws from
            all.
        similar_share: share of a label's examples, the most similar to the input, that are drawn from.
        seed: of the draws.
        **settings: as for ``PetClassifier``.

    Raises:
        ValueError: a label without support, or a share outside (0, 1].

    Note:
        An input costs ``samplings`` passes over about ``labels + 1`` times the tokens. Its own solution is never shown
        to a training example.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Any,
        verbalizer: Verbalizer | Mapping[str, Any],
        support: Sequence[Example],
        samplings: int = 4,
        demonstration_length: int = 64,
        text_encoder: TextEncoder | None = None,
        similar_share: float = 0.5,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(model, tokenizer, pattern, verbalizer, **settings)
        if not 0 < similar_share <= 1:
            raise ValueError(f"similar_share must be above 0 and at most 1; got {similar_share}")
        self.support: list[list[Example]] = [
            [example for example in support if label_number(example, self.labels) == number]
            for number in range(len(self.labels))
        ]
        without = [label for label, own in zip(self.labels, self.support, strict=True) if not own]
        if without:
            raise ValueError(f"no example with label {without[0]!r} to demonstrate it; add one to support")
        self.samplings, self.seed = samplings, seed
        self.text_encoder, self.similar_share = text_encoder, similar_share
        self._vectors: dict[str, Tensor] = {}
        self._solutions = self._solve(demonstration_length)
        self._solution_length = sum(max(map(len, own)) for own in self._solutions)

    def collate_rows(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """The inputs of ``forward`` for training, with demonstrations drawn by the rows' numbers."""
        return self._collate([row.example for row in rows], [(self.seed, row.draw) for row in rows])

    def collate(self, examples: Sequence[Example], sampling: int = 0) -> dict[str, Tensor]:
        """The inputs of ``forward``, with demonstrations drawn by the text and the number of the sampling."""
        return self._collate(examples, [(self.seed, sampling, zlib.crc32(_text(e).encode())) for e in examples])

    @torch.inference_mode()
    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Log-probabilities averaged over the samplings, ``(batch, labels)``."""
        total = torch.zeros((), device=self.device)
        for sampling in range(self.samplings):
            batch = {name: tensor.to(self.device) for name, tensor in self.collate(examples, sampling).items()}
            del batch["labels"]
            total = total + self.label_scores(**batch).log_softmax(dim=-1)
        return total / self.samplings

    def _collate(self, examples: Sequence[Example], seeds: Sequence[tuple[int, ...]]) -> dict[str, Tensor]:
        room = self.max_length - self._solution_length
        encoder = self.collator.encoder
        tails = [
            [
                token
                for own, place in zip(self._solutions, self._choose(example, seed), strict=True)
                for token in own[place]
            ]
            for example, seed in zip(examples, seeds, strict=True)
        ]
        demonstrated = _Appending(encoder, room, tails)
        return ClozeCollator(demonstrated, self.verbalizer)(examples)

    def _choose(self, example: Example, seed: tuple[int, ...]) -> list[int]:
        """The place of the demonstration of each label among its support."""
        random = np.random.default_rng(seed)
        return [int(random.choice(self._candidates(example, own))) for own in self.support]

    def _candidates(self, example: Example, support: list[Example]) -> list[int]:
        others = [place for place, other in enumerate(support) if other.fields != example.fields]
        others = others or list(range(len(support)))
        if self.text_encoder is None or self.similar_share == 1:
            return others
        query = self._vector(example)
        others.sort(key=lambda place: -float(query @ self._vector(support[place])))
        return others[: max(1, round(len(others) * self.similar_share))]

    def _vector(self, example: Example) -> Tensor:
        assert self.text_encoder is not None
        text = _text(example)
        if text not in self._vectors:
            self._vectors[text] = torch.nn.functional.normalize(self.text_encoder([text])[0], dim=0)
        return self._vectors[text]

    def _solve(self, length: int) -> list[list[list[int]]]:
        """Tokens of each label's solved clozes, without the special tokens at their beginning."""
        encoder = ClozeEncoder(self.pattern, self.tokenizer, length, self.collator.encoder.soft_token_ids)
        return [
            [
                filled(cloze, word.flat).input_ids[len(encoder.before) :]
                for cloze in encoder.encode(own, word.mask_counts)
            ]
            for own, word in zip(self.support, self.collator.first_words(), strict=True)
        ]


class _Appending(ClozeEncoder):
    """Encodes each example within ``room`` tokens and appends its own tail."""

    def __init__(self, encoder: ClozeEncoder, room: int, tails: list[list[int]]) -> None:
        super().__init__(encoder.pattern, encoder.tokenizer, room, encoder.soft_token_ids)
        self.tails = tails

    def encode(self, examples: Sequence[Example], mask_counts: Sequence[int]) -> list[Cloze]:
        return [
            Cloze(
                cloze.input_ids + tail,
                cloze.token_type_ids + [0] * len(tail),
                cloze.slots,
                cloze.field_numbers + [-1] * len(tail),
            )
            for cloze, tail in zip(super().encode(examples, mask_counts), self.tails, strict=True)
        ]


def mean_states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> TextEncoder:
    """A text encoder from any model: the mean of its last hidden states.

    Args:
        model: should not be the one that is trained, because similarities would drift.
        tokenizer: its tokenizer.
        max_length: tokens.
    """

    def encode(texts: list[str]) -> Tensor:
        inputs = encode_texts(tokenizer, [[text] for text in texts], max_length)
        with torch.inference_mode():
            states = model.base_model(**inputs).last_hidden_state  # (texts, length, hidden)
        present = inputs["attention_mask"][..., None].to(states.dtype)
        mean: Tensor = (states * present).sum(dim=1) / present.sum(dim=1)
        return mean

    return encode


def _text(example: Example) -> str:
    return "\n".join(example.fields.values())
