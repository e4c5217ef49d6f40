"""LM-BFF: every input is followed by one solved example of each label."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.checked_number import checked_number, checked_seed
from nlpkit.embeddings import unit_rows
from nlpkit.pet.classifiers.mean_states import MeanStates, TextEncoder
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.cloze import Cloze, ClozeEncoder, filled
from nlpkit.pet.clozes.cloze_batch import ClozeCollator
from nlpkit.pet.clozes.examples import Example, Sources, label_number
from nlpkit.pet.clozes.known_labels import warn_of_unlabelled
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.pet.training.fitting import Fitting
from nlpkit.pet.training.training_rows import TrainingRow

#: Within the folder of a saved classifier.
_ENCODER_FOLDER = "text_encoder"


class DemonstratedClassifier(PetClassifier):
    """A prompted classifier that sees one solved example of each label behind every input.

    Source: LM-BFF (Gao et al., 2021, arXiv 2012.15723, section 5): demonstrations are drawn from the training examples
    most similar to the input, anew at each training step; predictions are averaged over several draws.

    Args:
        model: as for ``PetClassifier``, like the following three.
        tokenizer: likewise.
        pattern: likewise.
        verbalizer: likewise; the first word of each label stands in the demonstrations.
        support: labelled examples to draw from, as ``nlpkit.pet.labelled_examples`` reads them; ``fit`` puts the
            examples that it trains on in their place. ``None`` where ``fit`` comes first.
        samplings: draws that a prediction averages over.
        demonstration_length: tokens a demonstration may have; of longer ones the fields are cut.
        text_encoder: makes the vectors whose cosine is the similarity, e.g. ``mean_states``; ``None`` draws from all.
            ``MeanStates`` is saved with the classifier; any other is to be given to ``from_pretrained`` again.
        similar_share: share of a label's examples, the most similar to the input, that are drawn from.
        seed: of the draws.
        max_length: as for ``PetClassifier``, like the following three.
        soft_token_ids: likewise.
        prior: likewise.
        fitting: likewise.

    Raises:
        ValueError: a label without support, or a share outside (0, 1].

    Note:
        An input costs ``samplings`` passes over about ``labels + 1`` times the tokens. Its own solution is never shown
        to a training example.
    """

    saved_settings: ClassVar[tuple[str, ...]] = (
        *PetClassifier.saved_settings,
        "support",
        "samplings",
        "demonstration_length",
        "text_encoder",
        "similar_share",
        "seed",
    )

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any],
        support: Sources | None = None,
        samplings: int = 4,
        demonstration_length: int = 64,
        text_encoder: TextEncoder | None = None,
        similar_share: float = 0.5,
        seed: int = 0,
        max_length: int | None = None,
        soft_token_ids: Sequence[int] = (),
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__(model, tokenizer, pattern, verbalizer, max_length, soft_token_ids, prior, fitting)
        if not 0 < similar_share <= 1:
            raise ValueError(f"similar_share must be above 0 and at most 1; got {similar_share}")
        checked_number("samplings", samplings, least=1, whole=True)
        checked_number("demonstration_length", demonstration_length, least=1, whole=True)
        checked_seed(seed)
        self.samplings, self.seed, self.demonstration_length = samplings, seed, demonstration_length
        self.similar_share = similar_share
        # Not a submodule: it is not trained, and its weights are none of the classifier's.
        self._text_encoder = (text_encoder,)
        self.support: list[Example] = []
        self._vectors: dict[str, Tensor] = {}
        given = self.labelled(() if support is None else support).examples
        warn_of_unlabelled([one.known_labels for one in given], "such rows demonstrate nothing, and are left out")
        if given:
            self._show([one for one in given if one.label is not None])

    @property
    def text_encoder(self) -> TextEncoder | None:
        """Makes the vectors whose cosine is the similarity."""
        return self._text_encoder[0]

    def _show(self, support: Sequence[Example]) -> None:
        """Draw from these examples."""
        by_label: list[list[Example]] = [
            [example for example in support if label_number(example, self.labels) == number]
            for number in range(len(self.labels))
        ]
        without = [label for label, own in zip(self.labels, by_label, strict=True) if not own]
        if without:
            raise ValueError(f"no example with label {without[0]!r} to demonstrate it; add one to support")
        self.support, self._by_label = list(support), by_label
        self._solutions = self._solve(self.demonstration_length)
        self._solution_length = sum(max(map(len, own)) for own in self._solutions)

    def _prepare_fit(self, examples: Sequence[Example]) -> None:
        self._show([example for example in examples if example.label is not None])

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is something to demonstrate."""
        return bool(self.support)

    def collate_rows(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """The inputs of ``forward`` for training, with demonstrations drawn by the rows' numbers."""
        return self._collate([row.example for row in rows], [(self.seed, row.draw) for row in rows])

    def collate(self, examples: Sequence[Example], sampling: int = 0) -> dict[str, Tensor]:
        """The inputs of ``forward``, with demonstrations drawn by the text and the number of the sampling."""
        return self._collate(examples, [(self.seed, sampling, zlib.crc32(_text(e).encode())) for e in examples])

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Log-probabilities averaged over the samplings, ``(batch, labels)``."""
        total = torch.zeros((), device=self.device)
        for sampling in range(self.samplings):
            batch = {name: tensor.to(self.device) for name, tensor in self.collate(examples, sampling).items()}
            del batch["labels"]
            total = total + self.label_scores(**batch).log_softmax(dim=-1)
        return total / self.samplings

    def _collate(self, examples: Sequence[Example], seeds: Sequence[tuple[int, ...]]) -> dict[str, Tensor]:
        if not self.support:
            raise ValueError("there is nothing to demonstrate; give support, or fit the classifier first")
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
        return [int(random.choice(self._candidates(example, own))) for own in self._by_label]

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
            self._vectors[text] = unit_rows(self.text_encoder([text])[0])
        return self._vectors[text]

    def _solve(self, length: int) -> list[list[list[int]]]:
        """Tokens of each label's solved clozes, without the special tokens at their beginning."""
        encoder = ClozeEncoder(self.pattern, self.tokenizer, length, self.collator.encoder.soft_token_ids)
        return [
            [
                filled(cloze, word.flat).input_ids[len(encoder.before) :]
                for cloze in encoder.encode(own, word.mask_counts)
            ]
            for own, word in zip(self._by_label, self.collator.first_words(), strict=True)
        ]

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        encoder = self.text_encoder
        return super().settings() | {
            "support": [{"fields": dict(example.fields), "label": example.label} for example in self.support],
            "samplings": self.samplings,
            "demonstration_length": self.demonstration_length,
            "text_encoder": encoder.max_length if isinstance(encoder, MeanStates) else encoder and "given",
            "similar_share": self.similar_share,
            "seed": self.seed,
        }

    def _save_more(self, folder: Path) -> None:
        if isinstance(self.text_encoder, MeanStates):
            self.text_encoder.save_pretrained(folder / _ENCODER_FOLDER)

    @classmethod
    def _open_more(cls, saved: dict[str, Any], source: str | Path, hub: Mapping[str, Any]) -> dict[str, Any]:
        encoder = saved.get("text_encoder")
        if encoder == "given":
            raise ValueError(f"{source} was saved with a text encoder of its user's; give it again: text_encoder=...")
        if isinstance(encoder, int):
            inner = str(Path(hub.get("subfolder", ""), _ENCODER_FOLDER))
            return saved | {"text_encoder": MeanStates.from_pretrained(source, encoder, **{**hub, "subfolder": inner})}
        return saved


class _Appending(ClozeEncoder):
    """Encodes each example within ``room`` tokens and appends its own tail."""

    def __init__(self, encoder: ClozeEncoder, room: int, tails: list[list[int]]) -> None:
        super().__init__(encoder.pattern, encoder.tokenizer, room, encoder.soft_token_ids)
        self.tails, self.pad = tails, encoder.pad  # type: ignore[method-assign]

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


def _text(example: Example) -> str:
    return "\n".join(example.fields.values())
