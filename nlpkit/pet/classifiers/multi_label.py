"""Any number of labels per text: each is asked for by a pair of words, or by its words and a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from nlpkit.losses.multi_label.zlpr import ZLPRLoss, zlpr, zlpr_probabilities
from nlpkit.pet.classifiers.pet_classifier import PetClassifier, load_masked_lm
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import NO_LABEL, Example, Label, LabelledExamples, Sources
from nlpkit.pet.clozes.label_lists import applies, multi_label_examples
from nlpkit.pet.clozes.label_questions import LABEL_NAME, named_labels, question, words_and_labels
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.saving import split_settings
from nlpkit.pet.scoring import labels_from_words, one_per_label
from nlpkit.pet.training.fitting import Fitting
from nlpkit.pretrained import open_tokenizer
from nlpkit.sources import find_model


class MultiLabelClassifier(TextClassifier):
    """Finds all labels that apply to a text, by the words that a masked LM finds likely in a pattern around it.

    Source: the pattern is PET's (arXiv 2001.07676); scores above 0 mean that a label applies, as in ZLPR (arXiv
    2208.02955; kexue.fm/archives/7359), by which ``fit`` trains, so that labels need not be equally frequent.

    Args:
        model: a masked language model.
        tokenizer: its tokenizer.
        pattern: the pattern, or its template. With ``{label}`` in it, every label is asked for by itself: its name
            stands there, and ``words`` are a pair. Without, all labels are asked for at once.
        words: with ``{label}``: the word that says that a label applies, and the word that says that it does not, each
            one or several. Without: the words of each label, whose log-probability is held against a threshold.
        names: with ``{label}``, what stands for each label, or the labels where they say it themselves.
        thresholds: what is taken from the score of each label, ``(labels,)``; see ``calibrate``. ``fit`` trains them,
            without ``{label}`` from the mean over its examples.
        max_length: tokens a cloze may have; by default as many as there is room for.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        ValueError: pattern, words and names do not fit each other.

    Note:
        With ``{label}`` a text costs one row of a pass per label, without it one for all. Labels are given as a list
        for each text, as a text with commas between them (``,``, ``，`` and ``、`` alike, unless the whole is one),
        or as a matrix of 0 and 1; ``score`` is the share of texts whose labels are exactly right.

    Example:
        >>> classifier = MultiLabelClassifier.from_pretrained(
        ...     "wobert-mini-zh", "{text}{label}很{mask}。", words=("好", "差"), names=["房间", "服务"]
        ... ).calibrate([""])
        >>> [[len(labels) for labels in classifier.predict(["房间干净", ""])], classifier.labels]
        [[..., ...], ('房间', '服务')]
    """

    one_label: ClassVar[bool] = False
    saved_settings: ClassVar[tuple[str, ...]] = ("pattern", "words", "names", "thresholds", "max_length")
    question_settings: ClassVar[tuple[str, ...]] = ("pattern", "words", "names")
    calibration: ClassVar[str] = "thresholds"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pattern: Pattern | str,
        words: Mapping[Any, str | Sequence[str]] | Sequence[str | Sequence[str]],
        names: Mapping[Any, str] | Sequence[Label] | None = None,
        thresholds: Sequence[float] | Tensor | None = None,
        max_length: int | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        pattern = Pattern.of(pattern)
        verbalizer, given = words_and_labels(pattern, words, names)
        self.words, self.names = words, names
        self._labels = tuple(map(str, given))
        self._by_name = named_labels(names, self._labels, tokenizer)
        super().__init__(model, tokenizer, None, fitting)
        self._classes = given
        self._asking = (PetClassifier(model, tokenizer, pattern, verbalizer, max_length),)  # no submodule
        start = [0.0] * len(self._labels) if thresholds is None else thresholds
        self._thresholds = nn.Parameter(one_per_label("thresholds", start, self._labels).float())

    @property
    def asking(self) -> PetClassifier:
        """Asks the model."""
        return self._asking[0]

    @property
    def thresholds(self) -> Tensor:
        """What is taken from the score of each label, ``(labels,)``."""
        return self._thresholds.detach()

    @property
    def pattern(self) -> Pattern:
        """The pattern; ``set_params`` changes it."""
        return self.asking.pattern

    @property
    def max_length(self) -> int:
        """Tokens a cloze may have."""
        return self.asking.max_length

    @property
    def by_pairs(self) -> bool:
        """Whether each label is asked for by itself."""
        return LABEL_NAME in self.asking.fields

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores."""
        return self._labels

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that the pattern takes."""
        return tuple(name for name in self.asking.fields if name != LABEL_NAME)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``, and ``labels``, see ``target``, ``(batch, labels)``."""
        names = [{LABEL_NAME: name} for name in self._by_name.values()] if self.by_pairs else [{}]
        rows = [Example({**one.fields, **name}) for one in examples for name in names]
        return self.asking.collate(rows) | {"labels": self.targets(examples)}

    def forward(
        self, *, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None, **batch: Tensor
    ) -> SequenceClassifierOutput:
        """Scores ``(batch, labels)``, above 0 where a label applies, and with ``labels`` the loss, ZLPR."""
        groups = batch.pop("groups")
        words = self.asking.word_scores(**batch, normalize=not self.by_pairs)  # (rows, words)
        scores = labels_from_words(words, groups, self.asking.aggregate)
        if self.by_pairs:
            scores = (scores[:, 0] - scores[:, 1]).view(-1, len(self.labels))
        scores = scores - self._thresholds.to(scores)
        loss = None if labels is None else self.mean_loss(scores, labels, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=scores)

    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, ``(batch, labels)``."""
        batch = {name: tensor.to(self.device) for name, tensor in self.collate(examples).items() if name != "labels"}
        return torch.as_tensor(self(**batch).logits)

    def target(self, example: Example) -> Tensor:
        """1 where a label applies, 0 elsewhere, -100 where that is not known, ``(labels,)``."""
        return torch.tensor(applies(example, self.labels))

    def known(self, targets: Tensor) -> Tensor:
        """Whether the labels of each example are known, ``(batch,)``."""
        return (targets != NO_LABEL).any(dim=-1)

    def losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """ZLPR of each example, ``(batch,)``."""
        return zlpr(scores, targets)

    def _with(self, parameters: dict[str, Any], changed: set[str]) -> Self:
        other = super()._with(parameters, changed)
        if other._start is not None and ("thresholds" in changed or parameters["thresholds"] is None):
            other._start = other._start | {"_thresholds": other.thresholds.cpu().clone()}
        return other

    def _prepare_fit(self, examples: Sequence[Example]) -> None:
        if not self.by_pairs and not self.thresholds.any():  # log-probabilities are far below 0
            self.calibrate(examples)

    def mean_loss(self, scores: Tensor, targets: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """As of ``Scorer``; the number of items is that of known labels in all, as the Trainer counts them."""
        rows = None if num_items_in_batch is None else torch.as_tensor(num_items_in_batch) / len(self.labels)
        return super().mean_loss(scores, targets, rows)

    def own_loss(self) -> ZLPRLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return ZLPRLoss()

    def measure(self, scores: Tensor, examples: Sequence[Example]) -> dict[str, float]:
        """``accuracy``, the right ones among the labels that apply or are said to (Jaccard), and ``loss``."""
        targets = self.targets(examples)
        known = self.known(targets)
        said, right = scores[known] > 0, targets[known] == 1
        either = (said | right).sum(dim=1)
        share = torch.where(either == 0, 1.0, (said & right).sum(dim=1) / either.clamp(min=1))
        return {"accuracy": share.mean().item(), "loss": zlpr(scores[known], targets[known]).mean().item()}

    def labelled(
        self, sources: Sources, labels: Iterable[Any] | str | None = None, text: Columns = None
    ) -> LabelledExamples:
        """Examples with their labels: lists, texts with commas, or a 0 or 1 for each of ``classes_``, by the text."""
        return multi_label_examples(sources, self.fields, self._sorted_classes, labels, text)

    def _read(self, texts: Sources, labels: Iterable[Any] | str | None, text: Columns) -> LabelledExamples:
        return multi_label_examples(texts, self.fields, self._sorted_classes, labels, text, required=True)

    def predict_proba(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> NDArray[np.floating]:
        """The probability of each of ``classes_`` by itself, ZLPR's ``sigmoid(2s)``, ``(examples, labels)``."""
        return np.asarray(zlpr_probabilities(self._sorted_scores(sources, batch_size, text)))

    def predict(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> list[Any]:
        """The list of labels that apply to each text, in the order of ``labels``."""
        found = (self.scores(sources, batch_size, text=text) > 0).tolist()
        return [[name for name, yes in zip(self._classes, row, strict=True) if yes] for row in found]

    def score(
        self,
        texts: Sources,
        labels: Iterable[Any] | str | None = None,
        *,
        text: Columns = None,
        label: str | None = None,
    ) -> float:
        """The share of texts for which exactly the right labels are predicted."""
        examples = self._fully_labelled(texts, labels, text, label)
        return ((self.scores(examples) > 0) == (self.targets(examples) == 1)).all(dim=1).float().mean().item()

    def calibrate(
        self,
        texts: Sources,
        batch_size: int = 64,
        *,
        mean: Literal["geometric", "arithmetic"] = "geometric",
        text: Columns = None,
    ) -> Self:
        """Put the threshold of each label at what the model says of texts without labels, in the mean.

        Args:
            texts: of the task, where about half of them have a label; or ``[""]``, the bare pattern.
            batch_size: examples per forward pass.
            mean: ``"geometric"``, of log-probabilities; there is no other here.
            text: the column of the text, or of each field, where it has another name.
        """
        if mean != "geometric":
            raise ValueError(f"mean={mean!r}: thresholds are means of log-probabilities, mean='geometric'")
        if not len(found := self.scores(texts, batch_size, text=text)):
            raise ValueError("no texts to calibrate on; give unlabelled texts of the task")
        with torch.no_grad():
            self._thresholds.add_(found.mean(dim=0).to(self._thresholds))
        return self

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        words: Any = self.asking.verbalizer.words if self.asking.verbalizer else {}
        listed = {label: [word for (word,) in own] for label, own in words.items()}
        common = {name: value for name, value in super().settings().items() if name != "prior"}
        return common | {
            "pattern": self.pattern.template,
            "words": list(listed.values()) if self.by_pairs else listed,
            "names": self._by_name or None,
            "thresholds": self.thresholds.tolist(),
            "max_length": self.max_length,
        }

    @classmethod
    def same_question(cls, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether pattern, words and names are the same, in the same order of labels."""
        return question(one) == question(other)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        pattern: Pattern | str | None = None,
        words: Mapping[Any, str | Sequence[str]] | Sequence[str | Sequence[str]] | None = None,
        names: Mapping[Any, str] | Sequence[Label] | None = None,
        **settings: Any,
    ) -> Self:
        """Load a model and make it a classifier, or load a saved classifier.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            pattern: as for the class; may be left out for a saved classifier, like the following two.
            words: likewise.
            names: likewise.
            **settings: the other arguments of the class; ``revision`` and so on for a repository, and ``dtype``,
                ``device_map`` and so on for the model, as for any of transformers.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: no pattern or no words are known, or the saved settings are broken.
        """
        own, hub, of_model = split_settings(settings, cls._arguments())
        if pattern is not None and names is None and LABEL_NAME not in Pattern.of(pattern).fields:
            names = ()  # those of the saved pattern stand nowhere in this one
        own |= {"pattern": pattern, "words": words, "names": names}
        saved = cls.read_settings(pretrained_model_name_or_path, own, hub)
        if missing := [name for name in ("pattern", "words") if name not in saved]:
            raise ValueError(f"{pretrained_model_name_or_path} holds no saved classifier; give {missing[0]}=...")
        source = find_model(pretrained_model_name_or_path, **hub)
        model = load_masked_lm(source, **hub, **of_model)
        return cls.made_of(model, open_tokenizer(source, **hub), saved)
