"""What all classifiers that ask a pattern share: their parts, their loss, and how they are saved and loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import PushToHubMixin

from nlpkit.files import WEIGHTS, whole_folder, write_json
from nlpkit.losses.normalised import cross_entropy
from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Aggregate, Verbalizer
from nlpkit.pet.output_layer_input import output_layer
from nlpkit.pet.saving import HUB, SETTINGS_FILE, read_settings
from nlpkit.sources import find_model


class PromptedClassifier(TextClassifier, PushToHubMixin):
    """A model, a pattern and label words; subclasses say how the model scores a word in the pattern.

    Args:
        model: what fills the pattern's slots.
        tokenizer: its tokenizer.
        pattern: the pattern, or its template.
        verbalizer: the label words, or a mapping of labels to words; ``None`` where each example brings candidates.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
    """

    #: Names of the settings that ``pet.json`` holds.
    saved_settings: ClassVar[tuple[str, ...]] = ("pattern", "verbalizer", "max_length", "prior")
    max_length: int

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        verbalizer: Verbalizer | Mapping[str, Any] | None,
        prior: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.pattern = Pattern(pattern) if isinstance(pattern, str) else pattern
        self.verbalizer = Verbalizer(verbalizer) if isinstance(verbalizer, Mapping) else verbalizer
        self.prior = None if prior is None else torch.tensor(prior)
        output_layer(model)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""
        return self.verbalizer.labels if self.verbalizer else ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that the pattern takes."""
        return self.pattern.fields

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

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
        loss = None if labels is None else cross_entropy(scores, labels, num_items_in_batch=num_items_in_batch)
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

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return {
            "pattern": self.pattern.template,
            "verbalizer": self.verbalizer.to_dict() if self.verbalizer else None,
            "max_length": self.max_length,
            "prior": None if self.prior is None else self.prior.tolist(),
        }

    def save_pretrained(self, save_directory: str | Path, *, max_shard_size: int | str = "50GB") -> None:
        """Save model, tokenizer and ``pet.json``, whole or not at all; the folder still loads as the model alone.

        Args:
            save_directory: made if it does not exist.
            max_shard_size: as for any model of transformers.
        """
        with whole_folder(save_directory, replacing=WEIGHTS) as draft:
            self.model.save_pretrained(draft, max_shard_size=max_shard_size)
            self.tokenizer.save_pretrained(draft)
            write_json(draft / SETTINGS_FILE, self.settings())

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
            **settings: the other arguments of the class; and for a repository ``revision``, ``cache_dir``, ``token``,
                ``local_files_only``, ``subfolder`` and ``force_download``, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: no pattern is known, the saved settings are broken, or the checkpoint lacks weights.
        """
        hub = {name: settings.pop(name) for name in HUB if name in settings}
        given = {"pattern": pattern, "verbalizer": verbalizer, **settings}
        saved = read_settings(pretrained_model_name_or_path, given, cls.saved_settings, hub)
        source = find_model(pretrained_model_name_or_path, **hub)
        return cls(cls.load_model(source, **hub), AutoTokenizer.from_pretrained(source, **hub), **saved)

    @staticmethod
    @abstractmethod
    def load_model(source: str, **hub: Any) -> PreTrainedModel:
        """Load a model of the kind that the class asks, in fp32."""
