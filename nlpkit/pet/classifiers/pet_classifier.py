"""A masked language model as a classifier: the words it would write into a pattern decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.losses.loss import at_least_fp32
from nlpkit.modes import evaluating
from nlpkit.pet.classifiers.prompted_classifier import PromptedClassifier
from nlpkit.pet.clozes.cloze import ClozeEncoder
from nlpkit.pet.clozes.cloze_batch import ClozeCollator
from nlpkit.pet.clozes.examples import Example, Source, as_examples
from nlpkit.pet.clozes.label_tokens import token_texts
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.pet.fill_in_turn import scores_in_turn
from nlpkit.pet.head_check import refuse_no_masked_lm
from nlpkit.pet.output_layer_input import logits_of, output_layer, reading
from nlpkit.pet.saving import brings_its_head, load_in_fp32, split_settings
from nlpkit.pet.scoring import PADDING, labels_from_words, refuse_no_numbers, words_from_logits
from nlpkit.pet.training.fitting import Fitting
from nlpkit.pretrained import refuse_other_kinds
from nlpkit.probes.room import checked_length
from nlpkit.sources import find_model


class PetClassifier(PromptedClassifier):
    """Classifies texts by the words that a masked LM finds likely in a pattern around them.

    Source: PET (Schick and Schuetze, 2021, arXiv 2001.07676 and 2009.07118); kexue.fm/archives/7764.

    Args:
        model: a masked language model.
        tokenizer: its tokenizer.
        pattern: the pattern, or its template.
        verbalizer: the label words, or a mapping of labels to words; ``None`` where each example brings candidates.
        max_length: tokens a cloze may have; by default as many as there is room for.
        soft_token_ids: ids of the pattern's trainable tokens (see ``nlpkit.pet.add_soft_tokens``).
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        ValueError: pattern, label words and model do not fit each other; each message says how. One tiny pass tells
            whether the model predicts a mask from both sides, and by its output layer alone.

    Note:
        The model's output layer runs at the masks only, and only for the tokens of label words; with label words of
        different length also over the whole vocabulary at the masks, for the normalisation that makes them comparable.

    Example:
        >>> classifier = PetClassifier.from_pretrained(
        ...     "wobert-mini-zh",
        ...     pattern="{text}总之很{mask}。",
        ...     verbalizer={"good": ["满意", "喜欢"], "bad": ["失望", "生气"]},
        ... )
        >>> classifier.calibrate([""]).predict(["房间干净，服务热情", "质量太差，要求退货"])
        ['good', 'bad']
    """

    saved_settings: ClassVar[tuple[str, ...]] = (*PromptedClassifier.saved_settings, "soft_token_ids")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any] | None,
        max_length: int | None = None,
        soft_token_ids: Sequence[int] = (),
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__(model, tokenizer, pattern, verbalizer, prior, fitting)
        self.max_length = checked_length(max_length, model, tokenizer)
        encoder = ClozeEncoder(self.pattern, tokenizer, self.max_length, soft_token_ids)
        self.collator = ClozeCollator(encoder, self.verbalizer)
        refuse_no_masked_lm(model, tokenizer)

    @property
    def soft_token_ids(self) -> list[int]:
        """Ids of the pattern's trainable tokens."""
        return self.collator.encoder.soft_token_ids

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``, see ``nlpkit.pet.clozes.cloze_batch.ClozeCollator``."""
        return self.collator(examples)

    def label_scores(
        self, slots: Tensor, tokens: Tensor, words: Tensor, variants: Tensor, groups: Tensor, **inputs: Tensor
    ) -> Tensor:
        """Scores of the labels; the arguments are those of ``collate``, the result ``(batch, labels)``."""
        of_words = self.word_scores(slots, tokens, words, variants, normalize=False, **inputs)
        scores = labels_from_words(of_words, groups, self.aggregate)
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
                constant per row would do.
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
        return words_from_logits(logits.view(*by_example, -1), normalizers, words, variants, self.mean_over_tokens)

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
        if found.states is None:
            raise ValueError(f"{type(self.model).__name__} does not call its output layer; a pass shows no states")
        return found.states

    def log_probabilities_at(self, rows: Tensor, columns: Tensor, **inputs: Tensor) -> Tensor:
        """Log-probabilities of the whole vocabulary at some positions.

        Args:
            rows: as for ``states_at``, like the others.
            columns: likewise.
            **inputs: likewise.

        Returns:
            Shape ``(positions, vocabulary)``.
        """
        states = self.states_at(rows, columns, **inputs)
        return at_least_fp32(logits_of(output_layer(self.model), states, None)).log_softmax(dim=-1)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, by the verbalizer's way of reading words, ``(batch, labels)``."""
        batch = self.unlabelled_batch(examples)
        if self.verbalizer is None or self.verbalizer.order == "parallel":
            return self.label_scores(**batch)
        words = scores_in_turn(self.log_probabilities_at, batch, self.verbalizer.order, self.mean_over_tokens)
        return labels_from_words(words, batch["groups"], self.aggregate)

    @torch.inference_mode()
    def fill(self, text: Source, top_k: int = 5) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """The words that the model itself would write into the pattern's slot, best first.

        Args:
            text: a text, texts by name, or an example.
            top_k: how many words.

        Returns:
            Each word with its probability among all tokens; for a pattern of several slots a list for each of them,
            filled independently. A piece of a word stands as its text.

        Raises:
            ValueError: ``top_k`` is not from 1 to the size of the vocabulary.

        Example:
            >>> classifier = PetClassifier.from_pretrained(
            ...     "wobert-mini-zh", "酒店的服务态度很{mask}。{text}", {"good": "好", "bad": "差"}
            ... )
            >>> [word for word, probability in classifier.fill("房间干净", top_k=3)]
            ['好', '差', '热情']
        """
        size = self.model.get_output_embeddings().weight.shape[0]
        if not 1 <= top_k <= size:
            raise ValueError(f"top_k={top_k} must be from 1 to {size}, the size of the vocabulary")
        encoder = self.collator.encoder
        clozes = encoder.encode(as_examples([text], self.fields), [1] * self.pattern.slots)
        columns = torch.tensor(clozes[0].slots, device=self.device)
        inputs = {name: tensor.to(self.device) for name, tensor in encoder.pad(clozes).items()}
        with evaluating(self):
            logs = refuse_no_numbers(self.log_probabilities_at(torch.zeros_like(columns), columns, **inputs))
        found = logs.exp().topk(top_k)
        fillings = [
            list(zip(token_texts(ids, self.tokenizer), shares, strict=True))
            for ids, shares in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]
        return fillings[0] if self.pattern.slots == 1 else fillings

    @torch.inference_mode()
    def word_probabilities(self, text: Source) -> dict[str, dict[str, float]]:
        """How probable the model itself finds each label's words in the slots, before labels and calibration.

        Args:
            text: a text, texts by name, or an example.

        Returns:
            By label, its words with their probabilities; of a word of several tokens the product of these, or with
            ``length_normalization="mean"`` their geometric mean.

        Raises:
            ValueError: each example brings its own words.

        Example:
            >>> classifier = PetClassifier.from_pretrained(
            ...     "wobert-mini-zh", "酒店的服务态度很{mask}。{text}", {"good": ["好", "热情"], "bad": "差"}
            ... )
            >>> found = classifier.word_probabilities("房间干净")["good"]["好"]
            >>> abs(found - dict(classifier.fill("房间干净"))["好"]) < 1e-4
            True
        """
        if self.verbalizer is None:
            raise ValueError("each example brings its own words; there are none that belong to labels")
        batch = self.unlabelled_batch(as_examples([text], self.fields))
        batch.pop("groups")
        with evaluating(self):
            logs = refuse_no_numbers(self.word_scores(**batch, normalize=True))
        shares = iter(logs[0].exp().tolist())
        return {label: {"".join(word): next(shares) for word in own} for label, own in self.verbalizer.words.items()}

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return super().settings() | {"soft_token_ids": list(self.soft_token_ids)}

    @staticmethod
    def load_model(source: str, **settings: Any) -> PreTrainedModel:
        """Load a masked LM; see ``load_masked_lm``."""
        return load_masked_lm(source, **settings)


def load_masked_lm(pretrained_model_name_or_path: str | Path, **settings: Any) -> PreTrainedModel:
    """Load a masked LM in fp32 by default, refusing a checkpoint whose head would start at random.

    Args:
        pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
        **settings: ``revision``, ``dtype`` and so on, as for any model of transformers.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is no masked LM, or weights of the head are missing in the checkpoint.
    """
    _, hub, of_model = split_settings(settings)
    source = find_model(pretrained_model_name_or_path, **hub)
    if brings_its_head(source, hub):
        opened: PreTrainedModel = load_in_fp32(AutoModelForMaskedLM, source, hub)
        return opened
    refuse_other_kinds(source, **hub)
    model, report = load_in_fp32(AutoModelForMaskedLM, source, hub, output_loading_info=True, **of_model)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{source} lacks {missing[0]} (and {len(missing) - 1} more): without a trained masked-LM head every "
            "filling is random; use a checkpoint that was saved with its head, or train one with "
            "recipes/wobert_pretrain.py"
        )
    return model
