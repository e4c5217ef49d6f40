"""What all classifiers that ask a pattern share: their parts, their loss, and how they are saved and loaded."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Aggregate, Verbalizer
from nlpkit.pet.output_layer_input import output_layer
from nlpkit.pet.saving import split_settings
from nlpkit.pet.training.fitting import Fitting
from nlpkit.pretrained import open_tokenizer
from nlpkit.sources import find_model


class PromptedClassifier(TextClassifier):
    """A model, a pattern and label words; subclasses say how the model scores a word in the pattern.

    Args:
        model: what fills the pattern's slots.
        tokenizer: its tokenizer.
        pattern: the pattern, or its template.
        verbalizer: the label words, or a mapping of labels to words; ``None`` where each example brings candidates.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.
    """

    saved_settings: ClassVar[tuple[str, ...]] = ("pattern", "verbalizer", "max_length", "prior")
    question_settings: ClassVar[tuple[str, ...]] = ("pattern", "verbalizer")
    max_length: int

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any] | None,
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        self._pattern = Pattern.of(pattern)
        self._verbalizer = None if verbalizer is None else Verbalizer.of(verbalizer)
        super().__init__(model, tokenizer, prior, fitting)
        self._classes = self._verbalizer.classes if self._verbalizer else ()
        output_layer(model)

    @property
    def pattern(self) -> Pattern:
        """The pattern; ``set_params`` changes it, and all that goes by it."""
        return self._pattern

    @property
    def verbalizer(self) -> Verbalizer | None:
        """The label words; ``set_params`` changes them, and all that goes by them."""
        return self._verbalizer

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""
        return self.verbalizer.labels if self.verbalizer else ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that the pattern takes."""
        return self.pattern.fields

    @property
    def aggregate(self) -> Aggregate:
        """How the scores of a label's words become one."""
        return self.verbalizer.aggregate if self.verbalizer else "mean"

    @property
    def mean_over_tokens(self) -> bool:
        """Whether a word's score is the mean over its tokens instead of their sum."""
        return self.verbalizer is None or self.verbalizer.length_normalization == "mean"

    @abstractmethod
    def label_scores(self, *args: Any, **kwargs: Any) -> Tensor:
        """Scores of the labels; the arguments are those of ``collate``, the result ``(batch, labels)``."""

    def forward(
        self, *, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None, **batch: Tensor
    ) -> SequenceClassifierOutput:
        """Score the labels of a batch that ``collate`` made; with ``labels``, also their cross-entropy.

        Args:
            labels: right labels, -100 where unknown, ``(batch,)``.
            num_items_in_batch: labelled examples of the whole optimizer step; ``None`` means of this batch.
            **batch: the rest of what ``collate`` returns.

        Returns:
            ``logits`` of shape ``(batch, labels)``, and ``loss`` in nats per example.
        """
        scores = self.adjusted(self.label_scores(**batch))
        loss = None if labels is None else self.mean_loss(scores, labels, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=scores)

    def own_loss(self) -> CrossEntropyLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return CrossEntropyLoss()

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, ``(batch, labels)``."""
        return self.label_scores(**self.unlabelled_batch(examples))

    def unlabelled_batch(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """What ``collate`` returns except for the labels, on the model's device."""
        return {name: tensor.to(self.device) for name, tensor in self.collate(examples).items() if name != "labels"}

    @classmethod
    def same_question(cls, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether pattern, label words and the order of labels are the same, texts or objects."""

        def asked(settings: Mapping[str, Any]) -> str:
            pattern, words = settings["pattern"], settings["verbalizer"]
            return json.dumps([Pattern.of(pattern).template, words and Verbalizer.of(words).to_dict()])

        return asked(one) == asked(other)

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return super().settings() | {
            "pattern": self.pattern.template,
            "verbalizer": self.verbalizer.to_dict() if self.verbalizer else None,
            "max_length": self.max_length,
        }

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        pattern: Pattern | str | None = None,
        verbalizer: Verbalizer | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """Load a model and make it a classifier, or load a saved classifier.

        Args:
            pretrained_model_name_or_path: of a model or of a saved classifier: a folder, the name of a shipped model,
                or a repository on the Hub.
            pattern: the pattern; may be left out for a saved classifier.
            verbalizer: the label words; likewise.
            **settings: the other arguments of the class; for a repository ``revision``, ``cache_dir``, ``token``,
                ``local_files_only``, ``subfolder`` and ``force_download``; and those of the model, ``dtype`` (fp32 by
                default) and ``device_map`` for example, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: no pattern is known, the saved settings are broken, or the checkpoint lacks weights.
        """
        own, hub, of_model = split_settings(settings, cls._arguments())
        given = {"pattern": pattern, "verbalizer": verbalizer, **own}
        saved = {"verbalizer": None} | cls.read_settings(pretrained_model_name_or_path, given, hub)
        if "pattern" not in saved:
            raise ValueError(
                f"{pretrained_model_name_or_path} holds no saved classifier; give a pattern, e.g. "
                "pattern='{mask}满意。{text}'"
            )
        source = find_model(pretrained_model_name_or_path, **hub)
        model = cls.load_model(source, **hub, **of_model)
        return cls.made_of(model, open_tokenizer(source, **hub), saved)

    @staticmethod
    @abstractmethod
    def load_model(source: str, **settings: Any) -> PreTrainedModel:
        """Load a model of the kind that the class asks, in fp32 by default."""
