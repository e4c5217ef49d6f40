"""Classifiers without a cloze: the baselines of prompting, and entailment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.normalised import at_least_fp32, cross_entropy, divide_by_items
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import NO_LABEL, Example, label_number
from nlpkit.pet.clozes.pattern import template_fields
from nlpkit.pet.saving import load_in_fp32
from nlpkit.sources import find_model


class HeadClassifier(TextClassifier):
    """Plain fine-tuning: a new linear head on the encoder, one score per label.

    Source: BERT (Devlin et al., 2019, section 4.1).

    Args:
        model: with as many outputs as labels.
        tokenizer: its tokenizer.
        labels: the labels in the order of the outputs.
        fields: one name, or two for a pair of texts.
        max_length: tokens; longer texts are cut, the longer of a pair first.

    Raises:
        ValueError: labels and outputs differ in number, or more than two fields are named.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        fields: Sequence[str] = ("text",),
        max_length: int = 512,
    ) -> None:
        super().__init__()
        if model.config.num_labels != len(labels):
            raise ValueError(f"the model has {model.config.num_labels} outputs, but there are {len(labels)} labels")
        if not 1 <= len(fields) <= 2:
            raise ValueError(f"a head reads one text or a pair; got the fields {tuple(fields)}")
        self.model, self.tokenizer = model, tokenizer
        self._labels, self._fields, self.max_length = tuple(labels), tuple(fields), max_length

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        labels: Sequence[str],
        fields: Sequence[str] = ("text",),
        max_length: int = 512,
        **hub: Any,
    ) -> HeadClassifier:
        """Put a new head on an encoder.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            labels: as for the class, like the following two.
            fields: likewise.
            max_length: likewise.
            **hub: for a repository, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such model.
        """
        model, tokenizer = _with_new_head(pretrained_model_name_or_path, len(labels), hub)
        return cls(model, tokenizer, labels, fields, max_length)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores."""
        return self._labels

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""
        return self._fields

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Token ids ``(batch, length)`` and so on, and ``labels``, ``(batch,)``."""
        batch = encode_texts(
            self.tokenizer, [[example.fields[name] for name in self.fields] for example in examples], self.max_length
        )
        batch["labels"] = torch.tensor([label_number(example, self.labels) for example in examples])
        return batch

    def forward(
        self, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None, **inputs: Tensor
    ) -> SequenceClassifierOutput:
        """Scores ``(batch, labels)``, and with ``labels`` their cross-entropy in nats per example."""
        logits = self.adjusted(self.model(**inputs).logits)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, ``(batch, labels)``."""
        batch = {name: tensor.to(self.model.device) for name, tensor in self.collate(examples).items()}
        del batch["labels"]
        logits: Tensor = self.model(**batch).logits
        return logits


class ChoiceClassifier(TextClassifier):
    """One score for each pair of an input and a label's description: entailment, or multiple choice.

    Source: EFL, *Entailment as few-shot learner* (Wang et al., 2021, arXiv 2104.14690, section 3): does the text
    entail the description of the label? With a softmax over the choices it is the multiple-choice head of BERT.

    Args:
        model: with one output.
        tokenizer: its tokenizer.
        premise: template of the first text, with fields in braces.
        hypotheses: template of the second text for each label; ``None`` where each example brings candidates, which
            then stand for ``{candidate}`` in ``premise`` and nothing else is compared.
        loss: ``"binary"``: each pair is right or wrong by itself, as in EFL; ``"softmax"``: the right one among the
            choices of an example.
        max_length: tokens; longer texts are cut, the longer of a pair first.

    Note:
        Costs as many rows as there are labels for every example.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        premise: str,
        hypotheses: Mapping[str, str] | None,
        loss: Literal["binary", "softmax"] = "binary",
        max_length: int = 512,
    ) -> None:
        super().__init__()
        if model.config.num_labels != 1:
            raise ValueError(f"a pair gets one score, but the model has {model.config.num_labels} outputs")
        if loss not in ("binary", "softmax"):
            raise ValueError(f"loss={loss!r} is unknown; use 'binary' or 'softmax'")
        self.model, self.tokenizer = model, tokenizer
        self.premise, self.hypotheses = premise, dict(hypotheses) if hypotheses else None
        self.loss, self.max_length = loss, max_length

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        premise: str,
        hypotheses: Mapping[str, str] | None,
        loss: Literal["binary", "softmax"] = "binary",
        max_length: int = 512,
        **hub: Any,
    ) -> ChoiceClassifier:
        """Put a new head with one output on an encoder, or take one that was trained (on entailment).

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            premise: as for the class, like the following three.
            hypotheses: likewise.
            loss: likewise.
            max_length: likewise.
            **hub: for a repository, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such model.
        """
        model, tokenizer = _with_new_head(pretrained_model_name_or_path, 1, hub)
        return cls(model, tokenizer, premise, hypotheses, loss, max_length)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""
        return tuple(self.hypotheses or ())

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""
        templates = [self.premise, *(self.hypotheses or {}).values()]
        names = dict.fromkeys(name for template in templates for name in template_fields(template))
        return tuple(name for name in names if name != "candidate")

    def _pairs(self, example: Example) -> list[list[str]]:
        if self.hypotheses is None:
            return [[self.premise.format(**example.fields, candidate=word)] for word in example.candidates]
        premise = self.premise.format(**example.fields)
        return [[premise, template.format(**example.fields)] for template in self.hypotheses.values()]

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Token ids of all pairs ``(pairs, length)``; ``sizes``, pairs per example, and ``labels``, ``(batch,)``."""
        pairs = [self._pairs(example) for example in examples]
        batch = encode_texts(self.tokenizer, [pair for own in pairs for pair in own], self.max_length)
        batch["sizes"] = torch.tensor([len(own) for own in pairs])
        batch["labels"] = torch.tensor([label_number(example, self.labels) for example in examples])
        return batch

    def forward(
        self,
        sizes: Tensor,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Tensor,
    ) -> SequenceClassifierOutput:
        """Scores ``(batch, choices)``, and with ``labels`` the loss in nats per example."""
        flat = at_least_fp32(self.model(**inputs).logits[:, 0])  # (pairs,)
        present = torch.arange(int(sizes.max()), device=flat.device) < sizes[:, None]  # (batch, choices)
        scores = flat.new_full(present.shape, torch.finfo(flat.dtype).min).masked_scatter(present, flat)
        loss = None
        if labels is not None and self.loss == "softmax":
            loss = cross_entropy(scores, labels, num_items_in_batch=num_items_in_batch)
        elif labels is not None:
            wanted = torch.arange(present.shape[1], device=flat.device) == labels[:, None]
            counted = present & (labels != NO_LABEL)[:, None]
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                scores.masked_fill(~present, 0.0), wanted.to(scores.dtype), reduction="none"
            )
            loss = divide_by_items(losses[counted].sum(), labels != NO_LABEL, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=scores)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's choices, ``(batch, choices)``."""
        batch = {name: tensor.to(self.model.device) for name, tensor in self.collate(examples).items()}
        return self(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits


def _with_new_head(
    source: str | Path, outputs: int, hub: Mapping[str, Any]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    found = find_model(source, **hub)
    model = load_in_fp32(AutoModelForSequenceClassification, found, hub, num_labels=outputs)
    return model, AutoTokenizer.from_pretrained(found, **hub)


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[str]], max_length: int
) -> dict[str, Tensor]:
    """Token ids of texts or pairs of texts, padded to the longest and cut to ``max_length``.

    Args:
        tokenizer: of the model.
        rows: each of one text or two.
        max_length: tokens.

    Returns:
        What the tokenizer gives, ``(rows, length)`` each.
    """
    second = [row[1] for row in rows] if len(rows[0]) > 1 else None
    encoding = tokenizer(
        [row[0] for row in rows],
        second,
        truncation=True,
        max_length=max_length,
        padding=True,
        pad_to_multiple_of=8,
        return_tensors="pt",
    )
    return dict(encoding)
