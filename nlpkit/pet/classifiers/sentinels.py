"""Clozes for T5 and mT5: the gap is a sentinel, and the decoder says how likely each filling is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from nlpkit.batches import refuse_no_rows
from nlpkit.losses.loss import at_least_fp32
from nlpkit.pet.classifiers.prompted_classifier import PromptedClassifier
from nlpkit.pet.clozes.cloze import ClozeEncoder, pad_integers
from nlpkit.pet.clozes.examples import Example, label_number
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import LabelWord, Verbalizer, candidate_words
from nlpkit.pet.head_check import (
    lengths_for_padding,
    refuse_another_head,
    refuse_no_start_of_decoder,
    refuse_reading_padding,
)
from nlpkit.pet.output_layer_input import logits_of, output_layer, reading
from nlpkit.pet.saving import load_in_fp32, split_settings
from nlpkit.pet.scoring import PADDING, labels_from_words
from nlpkit.pet.training.fitting import Fitting
from nlpkit.probes.room import checked_length

#: What losses and scores pass over in the decoder's targets.
IGNORED = -100
#: Positions whose logits over the whole vocabulary are in memory at once, in prediction.
_POSITIONS = 1024


class SentinelEncoder(ClozeEncoder):
    """Puts examples into a pattern with T5's sentinels ``<extra_id_0>``, ``<extra_id_1>``, ... in the slots.

    Raises:
        ValueError: the tokenizer has no such tokens.
    """

    def _find_gaps(self, tokenizer: PreTrainedTokenizerBase, slots: int) -> list[int]:
        vocabulary = tokenizer.get_vocab()
        names = [f"<extra_id_{number}>" for number in range(slots + 1)]
        missing = [name for name in names if name not in vocabulary]
        if missing:
            raise ValueError(f"{type(tokenizer).__name__} has no {missing[0]}; use a tokenizer of T5 or mT5")
        self.closing = vocabulary[names[-1]]
        return [vocabulary[name] for name in names[:-1]]

    def target(self, word: LabelWord) -> list[int]:
        """What the decoder should write for a label word: each sentinel with its filling, and the one that closes."""
        tokens = [token for gap, slot in zip(self.gaps, word.tokens, strict=True) for token in (gap, *slot)]
        return [*tokens, self.closing]


class SentinelClassifier(PromptedClassifier):
    """Classifies texts by how likely an encoder-decoder finds each label word in the gap.

    Source: T5's span corruption (Raffel et al., 2020, arXiv 1910.10683, section 3.1.4) as a cloze question.

    Args:
        model: a sequence-to-sequence model that was trained on span corruption.
        tokenizer: its tokenizer, with sentinels.
        pattern: the pattern, or its template.
        verbalizer: the label words; words of several tokens are scored token by token from the left, whatever its
            ``order`` says, because the decoder works so. ``None`` where each example brings candidates.
        max_length: tokens a cloze may have; by default as many as there is room for, 512 where nothing limits them.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        ValueError: pattern, label words and model do not fit each other.

    Note:
        The encoder runs once per example, the decoder once per example and word. A word's score includes the sentinel
        after it: how likely it is the *whole* filling. The output layer runs at the scored positions only.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any] | None,
        max_length: int | None = None,
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__(model, tokenizer, pattern, verbalizer, prior, fitting)
        self.max_length = checked_length(max_length, model, tokenizer)
        self.encoder = SentinelEncoder(self.pattern, tokenizer, self.max_length)
        if not model.config.is_encoder_decoder:
            name = type(model).__name__
            raise ValueError(f"{name} has no decoder; use a T5 or mT5, or PetClassifier for a masked LM")
        refuse_no_start_of_decoder(model)
        self._common = self.verbalizer.tokenized(tokenizer, self.pattern) if self.verbalizer else None
        row = torch.tensor([self.encoder.gaps + self.encoder.after])
        inputs = {"input_ids": row, "decoder_input_ids": row}
        refuse_another_head(model, inputs, 0)
        for length in lengths_for_padding(model, tokenizer):
            inputs["input_ids"] = row.repeat(1, length)[:, :length]
            refuse_reading_padding(model, tokenizer, inputs, lambda given: model(**given).logits[0, 0])

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``.

        Returns:
            ``input_ids`` and ``attention_mask``, ``(batch, length)``; ``targets`` of the decoder, a row for each word
            of each example, padded with -100, ``(words of all, tokens)``; ``owners``, the example of each, ``(words of
            all,)``; ``words``, the rows of each example's words, padded with -1, ``(batch, words)``; ``groups``, the
            words of each label, ``(labels, words of a label)``; ``labels``, -100 where unknown, ``(batch,)``.

        Raises:
            ValueError: no examples, an unknown label, or candidates that are missing or alike to the model.
        """
        refuse_no_rows(examples)
        batch = self.encoder.pad(self.encoder.encode(examples, [1] * self.pattern.slots))
        del batch["token_type_ids"]
        words = [self._words(example) for example in examples]
        rows = [word for own in words for word in own]
        batch["targets"] = pad_integers([self.encoder.target(word) for word in rows], IGNORED)
        batch["owners"] = torch.tensor([number for number, own in enumerate(words) for _ in own])
        places = iter(range(len(rows)))
        batch["words"] = pad_integers([[next(places) for _ in own] for own in words], PADDING)
        if self._common is None:
            batch["groups"] = torch.arange(batch["words"].shape[1])[:, None]
        else:
            members = [
                [n for n, w in enumerate(self._common) if w.label == label] for label in range(len(self.labels))
            ]
            batch["groups"] = pad_integers(members, PADDING)
        batch["labels"] = torch.tensor([label_number(example, self.labels) for example in examples])
        return batch

    def _words(self, example: Example) -> list[LabelWord]:
        if self._common is not None:
            return self._common
        return candidate_words(example.candidates, self.tokenizer, self.pattern)

    def label_scores(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        targets: Tensor,
        owners: Tensor,
        words: Tensor,
        groups: Tensor,
    ) -> Tensor:
        """Scores of the labels; the arguments are those of ``collate``, the result ``(batch, labels)``."""
        of_rows = self._filling_scores(input_ids, attention_mask, targets, owners)  # (words of all,)
        lowest = torch.finfo(of_rows.dtype).min
        scores = labels_from_words(of_rows[words.clamp(min=0)], groups, self.aggregate)
        absent = words[:, groups[:, 0]] == PADDING  # (batch, labels): examples with fewer candidates
        return scores.masked_fill(absent, lowest)

    def _filling_scores(self, input_ids: Tensor, attention_mask: Tensor, targets: Tensor, owners: Tensor) -> Tensor:
        model: Any = self.model
        encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
        states = BaseModelOutput(last_hidden_state=encoded.last_hidden_state[owners])
        scored = targets != IGNORED
        scored[:, 0] = False  # the opening sentinel is given, not asked for
        rows, columns = scored.nonzero(as_tuple=True)
        with reading(rows, columns) as found:
            model(
                encoder_outputs=states,
                attention_mask=attention_mask[owners],
                decoder_input_ids=model.prepare_decoder_input_ids_from_labels(targets),
                use_cache=False,
            )
        assert found.states is not None
        wanted = targets[rows, columns]
        parts = zip(found.states.split(_POSITIONS), wanted.split(_POSITIONS), strict=True)
        own = torch.cat([self._log_probabilities(part, tokens) for part, tokens in parts])  # (positions,)
        totals = own.new_zeros(len(targets)).index_add(0, rows, own)
        return totals / scored.sum(dim=1) if self.mean_over_tokens else totals

    def _log_probabilities(self, states: Tensor, tokens: Tensor) -> Tensor:
        logits = at_least_fp32(logits_of(output_layer(self.model), states, None))
        return logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]

    @staticmethod
    def load_model(source: str, **settings: Any) -> PreTrainedModel:
        """Load a T5-like model in fp32 by default."""
        _, hub, of_model = split_settings(settings)
        model: PreTrainedModel = load_in_fp32(AutoModelForSeq2SeqLM, source, hub, **of_model)
        return model
