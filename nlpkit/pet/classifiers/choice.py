"""One score for each pair of an input and a label's description: entailment, or multiple choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.loss import at_least_fp32
from nlpkit.pet.classifiers.encoding import encode_texts, load_with_head, refuse_padding_in_heads
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import Example, given_labels, label_name
from nlpkit.pet.clozes.label_tokens import refuse_alike, refuse_alike_candidates, tokens_within
from nlpkit.pet.clozes.pattern import template_fields, template_parts
from nlpkit.pet.saving import split_settings
from nlpkit.pet.training.fitting import Fitting
from nlpkit.probes.room import checked_length


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
        max_length: tokens; longer texts are cut, the longer of a pair first. By default there are as many as there is
            room for.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        TypeError: the hypotheses are no mapping.
        ValueError: a model of several outputs or one that reads padding, hypotheses that it reads alike, an unknown
            loss, a label that is missing, or a length that there is no room for.

    Note:
        Costs as many rows as there are labels for every example.
    """

    saved_settings: ClassVar[tuple[str, ...]] = ("premise", "hypotheses", "loss", "max_length", "prior")
    question_settings: ClassVar[tuple[str, ...]] = ("premise", "hypotheses")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        premise: str,
        hypotheses: Mapping[Any, str] | None,
        loss: Literal["binary", "softmax"] = "binary",
        max_length: int | None = None,
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        if model.config.num_labels != 1:
            raise ValueError(f"a pair gets one score, but the model has {model.config.num_labels} outputs")
        if loss not in ("binary", "softmax"):
            raise ValueError(f"loss={loss!r} is unknown; use 'binary' or 'softmax'")
        if not isinstance(hypotheses, Mapping | None):
            raise TypeError(
                f"hypotheses={hypotheses!r} must map labels to texts, e.g. {{'good': '满意', 'bad': '失望'}}"
            )
        if hypotheses is not None and not hypotheses:
            raise ValueError(
                "hypotheses={} names no label; give a text for each, or None where examples bring candidates"
            )
        given = given_labels(hypotheses or ())
        self.premise = premise
        self.hypotheses = {label_name(name): text for name, text in hypotheses.items()} if hypotheses else None
        templates = list((self.hypotheses or {}).values())
        if templates and any("candidate" in template_fields(template) for template in (premise, *templates)):
            raise ValueError("{candidate} stands for what each example brings; leave it out, or give hypotheses=None")
        refuse_alike(templates, [_reading(template, tokenizer) for template in templates], "hypotheses")
        super().__init__(model, tokenizer, prior, fitting)
        self.loss = loss
        self._classes = given
        self.max_length = checked_length(max_length, model, tokenizer)
        refuse_padding_in_heads(model, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        premise: str | None = None,
        hypotheses: Mapping[Any, str] | None = None,
        loss: Literal["binary", "softmax"] | None = None,
        max_length: int | None = None,
        **settings: Any,
    ) -> Self:
        """Put a new head with one output on an encoder, take one that learnt entailment, or load a saved classifier.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            premise: as for the class; may be left out for a saved classifier, like the following three.
            hypotheses: likewise.
            loss: likewise.
            max_length: likewise.
            **settings: the other arguments of the class; ``revision`` and so on for a repository, and ``dtype``,
                ``device_map`` and so on for the model, as for any of transformers.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: no premise is known, there is a head of several outputs, the saved settings are broken, or
                weights are damaged.
        """
        own, hub, of_model = split_settings(settings, cls._arguments())
        given = {"premise": premise, "hypotheses": hypotheses, "loss": loss, "max_length": max_length, **own}
        saved = {"hypotheses": None} | cls.read_settings(pretrained_model_name_or_path, given, hub)
        if "premise" not in saved:
            raise ValueError(f"{pretrained_model_name_or_path} holds no saved classifier; give premise='{{text}}'")
        model, tokenizer = load_with_head(pretrained_model_name_or_path, hub, num_labels=1, **of_model)
        return cls.made_of(model, tokenizer, saved)

    @classmethod
    def same_question(cls, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether premise and hypotheses are the same, in the same order; a folder holds labels as texts."""

        def named(settings: Mapping[str, Any]) -> dict[str, Any]:
            own = settings.get("hypotheses")
            return {**settings, "hypotheses": own and {label_name(label): text for label, text in own.items()}}

        return super().same_question(named(one), named(other))

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
            tokens = [tokens_within(word, self.tokenizer) for word in example.candidates]
            refuse_alike_candidates(example.candidates, tokens, self.tokenizer)
            return [[self.premise.format(**example.fields, candidate=word)] for word in example.candidates]
        premise = self.premise.format(**example.fields)
        return [[premise, template.format(**example.fields)] for template in self.hypotheses.values()]

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Token ids of all pairs ``(pairs, length)``; ``sizes``, pairs per example, and ``labels``, ``(batch,)``."""
        pairs = [self._pairs(example) for example in examples]
        batch = encode_texts(self.tokenizer, [pair for own in pairs for pair in own], self.max_length)
        batch["sizes"] = torch.tensor([len(own) for own in pairs])
        batch["labels"] = self.targets(examples)
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
        loss = None if labels is None else self.mean_loss(scores, labels, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=scores)

    def losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example: of all its pairs, right or wrong, or of the choice among them, ``(batch,)``."""
        if self.loss == "softmax":
            return super().losses(scores, targets)
        present = scores > torch.finfo(scores.dtype).min  # (batch, choices)
        wanted = torch.arange(present.shape[1], device=scores.device) == targets[:, None]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            scores.masked_fill(~present, 0.0), wanted.to(scores.dtype), reduction="none"
        )
        return losses.masked_fill(~(present & self.known(targets)[:, None]), 0.0).sum(dim=1)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's choices, ``(batch, choices)``."""
        batch = {name: tensor.to(self.model.device) for name, tensor in self.collate(examples).items()}
        return self(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return super().settings() | {
            "premise": self.premise,
            "hypotheses": self.hypotheses,
            "loss": self.loss,
            "max_length": self.max_length,
        }


def _reading(template: str, tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[tuple[int, ...], str | None], ...]:
    """What a model reads in a template: tokens, and names of fields, whose texts it will read in their place."""
    return tuple((tokens_within(text, tokenizer), name) for text, name in template_parts(template))
