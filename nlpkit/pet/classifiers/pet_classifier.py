"""A masked language model as a classifier: the words it would write into a pattern decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.normalised import at_least_fp32, cross_entropy
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.cloze import ClozeEncoder
from nlpkit.pet.clozes.cloze_batch import ClozeCollator
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Aggregate, Verbalizer
from nlpkit.pet.fill_in_turn import scores_in_turn
from nlpkit.pet.output_layer_input import logits_of, output_layer, reading
from nlpkit.pet.saving import read_settings, save_classifier
from nlpkit.pet.scoring import PADDING, label_scores, word_scores


class PetClassifier(TextClassifier):
    """Classifies texts by the words that a masked LM finds likely in a pattern around them.

    Source: PET (Schick and Schuetze, 2021, arXiv 2001.07676 and 2009.07118); kexue.fm/archives/7764.

    Args:
        model: a masked language model.
        tokenizer: its tokenizer.
        pattern: the pattern, or its template.
        verbalizer: the label words, or a mapping of labels to words; ``None`` where each example brings candidates.
        max_length: tokens a cloze may have; by default the tokenizer's limit.
        soft_token_ids: ids of the pattern's trainable tokens (see ``nlpkit.pet.objectives.soft_prompt``).
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see `calibrate`.

    Raises:
        ValueError: pattern, label words and model do not fit each other; each message says how.

    Note:
        The model's output layer runs at the masks only, and only for the tokens of label words; with label words of
        different length also over the whole vocabulary at the masks, for the normalisation that makes them comparable.

    Example:
        >>> from nlpkit.sources import model_path
        >>> classifier = PetClassifier.from_pretrained(
        ...     model_path("wobert-mini-zh"),
        ...     pattern="{text}总之很{mask}。",
        ...     verbalizer={"good": ["满意", "喜欢"], "bad": ["失望", "生气"]},
        ... )
        >>> classifier.predict_proba(["房间干净，服务热情", "质量太差，要求退货"]).shape
        (2, 2)
    """

    collator: ClozeCollator
    verbalizer: Verbalizer | None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any] | None,
        max_length: int | None = None,
        soft_token_ids: Sequence[int] = (),
        prior: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.pattern = Pattern(pattern) if isinstance(pattern, str) else pattern
        self.verbalizer = Verbalizer(verbalizer) if isinstance(verbalizer, Mapping) else verbalizer
        positions = getattr(model.config, "max_position_embeddings", None)
        self.max_length = max_length or min(length for length in (tokenizer.model_max_length, positions) if length)
        self.collator = ClozeCollator(
            ClozeEncoder(self.pattern, tokenizer, self.max_length, soft_token_ids), self.verbalizer
        )
        self.prior = None if prior is None else torch.tensor(prior)
        output_layer(model)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""
        return self.collator.labels

    @property
    def aggregate(self) -> Aggregate:
        """How the scores of a label's words become one."""
        return self.verbalizer.aggregate if self.verbalizer else "mean"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that the pattern takes."""
        return self.pattern.fields

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``, see ``nlpkit.pet.clozes.cloze_batch.ClozeCollator``."""
        return self.collator(examples)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def forward(
        self, *, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None, **batch: Tensor
    ) -> SequenceClassifierOutput:
        """Score the labels of a batch that ``collate`` made; with ``labels``, also their cross-entropy.

        Args:
            labels: right labels, -100 where unknown, ``(batch,)``.
            num_items_in_batch: labelled examples of the whole optimizer step; ``None`` means of this batch.
            **batch: the rest of what ``collate`` returns.

        Returns:
            ``logits`` of shape ``(batch, labels)``, and ``loss`` in nats an example.
        """
        scores = self.adjusted(self.label_scores(**batch))
        loss = None if labels is None else cross_entropy(scores, labels, num_items_in_batch=num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=scores)

    def label_scores(
        self, slots: Tensor, tokens: Tensor, words: Tensor, variants: Tensor, groups: Tensor, **inputs: Tensor
    ) -> Tensor:
        """Scores of the labels; the arguments are those of ``collate``, the result ``(batch, labels)``."""
        of_words = self.word_scores(slots, tokens, words, variants, normalize=False, **inputs)
        scores = label_scores(of_words, groups, self.aggregate)
        absent = (words[:, groups[:, 0]] == PADDING).all(dim=2)  # (batch, labels): examples with fewer candidates
        return scores.masked_fill(absent, torch.finfo(scores.dtype).min)

    def word_scores(
        self,
        slots: Tensor,
        tokens: Tensor,
        words: Tensor,
        variants: Tensor,
        normalize: bool,
        **inputs: Tensor,
    ) -> Tensor:
        """Scores of the label words.

        Args:
            slots: and the following, as ``collate`` made them.
            tokens: likewise.
            words: likewise.
            variants: likewise.
            normalize: give log-probabilities under the whole vocabulary even where all words are of one length, and a
                constant a row would do.
            **inputs: of the model.

        Returns:
            Nats, shape ``(batch, words)``.
        """
        rows, masks = (slots != PADDING).nonzero(as_tuple=True)  # (positions,)
        states = self.states_at(rows, slots[rows, masks], **inputs)  # (positions, hidden)
        decoder = output_layer(self.model)
        chosen = logits_of(decoder, states, tokens)  # (positions, tokens)
        logits = chosen.new_zeros(*slots.shape, len(tokens)).index_put((rows, masks), chosen)
        by_example = (len(words), len(slots) // len(words), slots.shape[1])  # (batch, variants, masks)
        normalizers = None
        if normalize or by_example[1] > 1:
            sums = at_least_fp32(logits_of(decoder, states, None)).logsumexp(dim=-1)  # (positions,)
            normalizers = sums.new_zeros(slots.shape).index_put((rows, masks), sums).view(by_example)
        mean = self.verbalizer is None or self.verbalizer.length_normalization == "mean"
        return word_scores(logits.view(*by_example, -1), normalizers, words, variants, mean)

    def states_at(self, rows: Tensor, columns: Tensor, **inputs: Tensor) -> Tensor:
        """What the model hands to its output layer at some positions.

        Args:
            rows: row of each position, ``(positions,)``.
            columns: column of each position, ``(positions,)``.
            **inputs: ``input_ids``, ``attention_mask`` and ``token_type_ids``, ``(rows, length)``.

        Returns:
            Shape ``(positions, hidden)``.
        """
        if getattr(self.model.config, "type_vocab_size", 0) < 2:
            inputs.pop("token_type_ids", None)
        output_layer(self.model)  # it may be another one since the last pass, e.g. after the vocabulary has grown
        with reading(rows, columns) as found:
            self.model(**inputs)
        assert found.states is not None
        return found.states

    @torch.inference_mode()
    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, by the verbalizer's way of reading words, ``(batch, labels)``."""
        batch = {name: tensor.to(self.device) for name, tensor in self.collate(examples).items()}
        del batch["labels"]
        in_turn = self.verbalizer is not None and self.verbalizer.order != "parallel"
        return scores_in_turn(self, batch, rows_at_once=128) if in_turn else self.label_scores(**batch)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save model, tokenizer and ``pet.json``, whole or not at all; the folder still loads as a masked LM."""
        save_classifier(folder, self, soft_token_ids=list(self.collator.encoder.soft_token_ids))

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        pattern: Pattern | str | None = None,
        verbalizer: Verbalizer | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> PetClassifier:
        """Load a masked LM and make it a classifier, or load a saved classifier.

        Args:
            path: folder of a masked LM, or one that `save_pretrained` wrote.
            pattern: the pattern; may be left out for a saved classifier.
            verbalizer: the label words; likewise.
            **settings: the other arguments of the class.

        Raises:
            ValueError: no pattern is known, or the checkpoint lacks the weights of the masked-LM head.
        """
        saved = read_settings(path, {"pattern": pattern, "verbalizer": verbalizer, **settings})
        return cls(load_masked_lm(path), AutoTokenizer.from_pretrained(path), **saved)


def load_masked_lm(path: str | Path) -> PreTrainedModel:
    """Load a masked LM in fp32, refusing a checkpoint whose head would start at random.

    Raises:
        ValueError: weights of the head are missing in the checkpoint.
    """
    model, report = AutoModelForMaskedLM.from_pretrained(path, dtype="float32", output_loading_info=True)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{path} lacks {missing[0]} (and {len(missing) - 1} more): without a trained masked-LM head every filling "
            "is random; use a checkpoint that was saved with its head, or train one with recipes/wobert_pretrain.py"
        )
    return model
