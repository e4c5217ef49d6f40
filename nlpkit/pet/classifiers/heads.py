"""Plain fine-tuning: the baseline of prompting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.pet.classifiers.encoding import encode_texts, load_with_head, refuse_padding_in_heads
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.examples import Example, Label, given_labels, label_name
from nlpkit.pet.saving import split_settings
from nlpkit.pet.training.fitting import Fitting
from nlpkit.probes.room import checked_length


class HeadClassifier(TextClassifier):
    """Plain fine-tuning: a new linear head on the encoder, one score per label.

    Source: BERT (Devlin et al., 2019, section 4.1).

    Args:
        model: with as many outputs as labels.
        tokenizer: its tokenizer.
        labels: the labels, texts or numbers, in the order of the outputs.
        fields: one name, or two for a pair of texts.
        max_length: tokens; longer texts are cut, the longer of a pair first. By default there are as many as there is
            room for.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        TypeError: the labels are no list.
        ValueError: there are no labels, labels and outputs differ in number, a label stands twice or is missing, more
            than two fields are named, the length is more than there is room for, the model reads padding, or its
            config does not say with what its decoder begins.

    Example:
        >>> from nlpkit.pet import Fitting
        >>> classifier = HeadClassifier.from_pretrained("wobert-mini-zh", [1, 0], fitting=Fitting(max_steps=20))
        >>> classifier = classifier.fit(["房间干净", "服务热情", "质量太差", "态度恶劣"], [1, 1, 0, 0])
        >>> classifier.predict(["房间干净", "态度恶劣"])
        [1, 0]
    """

    saved_settings: ClassVar[tuple[str, ...]] = ("labels", "fields", "max_length", "prior")
    question_settings: ClassVar[tuple[str, ...]] = ("labels", "fields")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[Label],
        fields: Sequence[str] = ("text",),
        max_length: int | None = None,
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        given = given_labels(_listed(labels))
        self._labels, self._fields = tuple(map(str, given)), (fields,) if isinstance(fields, str) else tuple(fields)
        if model.config.num_labels != len(given):
            raise ValueError(f"the model has {model.config.num_labels} outputs, but there are {len(given)} labels")
        if not 1 <= len(self._fields) <= 2:
            raise ValueError(f"a head reads one text or a pair; got the fields {self._fields}")
        super().__init__(model, tokenizer, prior, fitting)
        if model.config.id2label == {number: f"LABEL_{number}" for number in range(len(given))}:
            model.config.id2label = dict(enumerate(self._labels))  # which a saved folder tells pipelines
            model.config.label2id = {name: number for number, name in enumerate(self._labels)}
        self._classes = given
        self.max_length = checked_length(max_length, model, tokenizer)
        refuse_padding_in_heads(model, tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        labels: Sequence[Label] | None = None,
        fields: Sequence[str] | None = None,
        max_length: int | None = None,
        **settings: Any,
    ) -> Self:
        """Put a new head on an encoder, or load a saved classifier.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            labels: as for the class; may be left out for a saved classifier, like the following two.
            fields: likewise.
            max_length: likewise.
            **settings: the other arguments of the class; ``revision`` and so on for a repository, and ``dtype``,
                ``device_map`` and so on for the model, as for any of transformers.

        Raises:
            FileNotFoundError: there is no such model.
            TypeError: the labels are no list.
            ValueError: no labels are known, there is a head for another number of labels, the saved settings are
                broken, or weights are damaged.
        """
        own, hub, of_model = split_settings(settings, cls._arguments())
        labels = None if labels is None else _listed(labels)
        given = {"labels": labels, "fields": fields, "max_length": max_length, **own}
        saved = cls.read_settings(pretrained_model_name_or_path, given, hub)
        if "labels" not in saved:
            raise ValueError(f"{pretrained_model_name_or_path} holds no saved classifier; give labels=[...]")
        names = list(map(str, given_labels(saved["labels"])))
        if labels is not None:
            saved["classes"] = ()  # those that are given say how they are written
        model, tokenizer = load_with_head(
            pretrained_model_name_or_path,
            hub,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
            **of_model,
        )
        return cls.made_of(model, tokenizer, saved)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores."""
        return self._labels

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""
        return self._fields

    @classmethod
    def same_question(cls, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether fields and labels are the same, in the same order; a folder holds numbers as texts."""
        return super().same_question(*({**own, "labels": _names(own.get("labels", ()))} for own in (one, other)))

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Token ids ``(batch, length)`` and so on, and ``labels``, ``(batch,)``."""
        batch = encode_texts(
            self.tokenizer, [[example.fields[name] for name in self.fields] for example in examples], self.max_length
        )
        batch["labels"] = self.targets(examples)
        return batch

    def forward(
        self, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None, **inputs: Tensor
    ) -> SequenceClassifierOutput:
        """Scores ``(batch, labels)``, and with ``labels`` their cross-entropy in nats per example."""
        logits = self.adjusted(self.model(**inputs).logits)
        loss = None if labels is None else self.mean_loss(logits, labels, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, ``(batch, labels)``."""
        batch = {name: tensor.to(self.model.device) for name, tensor in self.collate(examples).items()}
        del batch["labels"]
        logits: Tensor = self.model(**batch).logits
        return logits

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return super().settings() | {
            "labels": list(self.labels),
            "fields": list(self.fields),
            "max_length": self.max_length,
        }

    def own_loss(self) -> CrossEntropyLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return CrossEntropyLoss()


def _listed(labels: Sequence[Label]) -> list[Label]:
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TypeError(f"labels={labels!r} must be a list of all labels there are, e.g. labels=['good', 'bad']")
    if not (listed := list(labels)):
        raise ValueError(f"labels={labels!r} must name all labels there are, e.g. labels=['good', 'bad']")
    return listed


def _names(labels: Iterable[Label]) -> list[str]:
    return list(map(label_name, labels))
