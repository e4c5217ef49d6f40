"""A network as a classifier: trained by ``fit``, calibrated, saved with what makes it a classifier."""

from __future__ import annotations

import json
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import PushToHubMixin

from nlpkit.files import SAVED_MODEL, whole_folder, write_json
from nlpkit.pet.classifiers.estimator import Estimator, labels_as_given
from nlpkit.pet.clozes.calibration_examples import calibration_examples
from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import Example, LabelledExamples, Sources, as_examples
from nlpkit.pet.clozes.known_labels import warn_of_training_labels
from nlpkit.pet.lost_weights import save_all_weights
from nlpkit.pet.saving import SETTINGS_FILE, json_arguments, read_settings
from nlpkit.pet.scoring import label_prior, one_per_label
from nlpkit.pet.training.fitting import Fitting, checked_fitting, hold_out
from nlpkit.pet.training.label_loss import LabelLoss, balanced_weights
from nlpkit.pet.training.objective import Objective
from nlpkit.pet.training.scorer import Scorer


class TextClassifier(Scorer, Estimator, PushToHubMixin):
    """A network with a tokenizer that predicts labels of texts; subclasses say how a batch of examples is scored.

    Args:
        model: the network.
        tokenizer: its tokenizer.
        prior: log-probabilities of the labels that are taken out of every prediction, ``(labels,)``; see
            ``calibrate``.
        fitting: how ``fit`` trains; by default as ``Fitting()``.

    Raises:
        ValueError: a prior of another number of labels, or one that is not finite.
    """

    #: Names of the settings that ``pet.json`` holds.
    saved_settings: ClassVar[tuple[str, ...]] = ("prior",)
    #: Those that say what the scores answer: a calibration belongs to these, and to no others.
    question_settings: ClassVar[tuple[str, ...]] = ()
    #: The one that ``calibrate`` measures.
    calibration: ClassVar[str] = "prior"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prior: Sequence[float] | Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.fitting = checked_fitting(fitting) or Fitting()
        self._prior = None if prior is None else one_per_label("prior", prior, self.labels)

    __repr__ = Estimator.__repr__  # and not the network's, of a line for each of its parts

    def _shown(self) -> dict[str, str]:
        template = {name: repr(getattr(self, name)) for name in self.question_settings[:1]}
        return template | super()._shown() | {"model": type(self.model).__name__}

    @property
    def prior(self) -> Tensor | None:
        """Log-probabilities of the labels that are taken out of every prediction, ``(labels,)``."""
        return self._prior

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def fit(
        self,
        texts: Sources,
        labels: Iterable[Any] | str | None = None,
        *,
        text: Columns = None,
        label: str | None = None,
        validation: Sources | tuple[Sources, Iterable[Any]] | None = None,
        unlabelled: Sources = (),
        objective: Callable[[Self], Objective[Any]] | None = None,
    ) -> Self:
        """Train on texts with labels by ``PetTrainer``, from where the classifier began, with ``fitting``.

        Args:
            texts: in any form that ``nlpkit.pet.as_examples`` reads.
            labels: one per text, or the name of their column; by default the column ``"label"``, or those of examples.
                A text whose label is missing (``None``, NaN) is only of use to objectives that need no label.
            text: the column of the text, or of each field, where it has another name.
            label: the column of the labels.
            validation: examples that choose the best step: texts with labels in one table, or a tuple of both. By
                default a share of the training examples, ``fitting.validation_share``; with neither, the last wins.
            unlabelled: texts for objectives that use them.
            objective: makes an objective around the classifier, ``PetLoss`` for example; by default ``LabelLoss``.

        Returns:
            The classifier itself, trained, in evaluation mode.

        Raises:
            ValueError: no labels, one that is not the classifier's, a column that is not there, or training that has
                diverged; messages say more. Then the weights are those from before.

        Warns:
            UserWarning: labels are missing, or all the same.

        Note:
            Another ``fit`` starts where the first one did: the weights from before stay in memory. A prior is kept as
            it is. What ``fitting`` cannot say, ``PetTrainer`` takes.
        """
        from nlpkit.pet.training.quiet_training import train

        found = self._labelled(texts, labels, text, label)
        examples, fitting = found.examples, self.fitting
        warn_of_training_labels([one.known_labels for one in examples], has_choice=bool(self.labels))
        if validation is None:
            examples, held_out = hold_out(examples, fitting.validation_share, fitting.seed)
        else:
            others, answers = validation if isinstance(validation, tuple) else (validation, label)
            held_out = self._fully_labelled(others, answers, text, None)
        self.restart()
        if self._start is None:
            self._start = {name: tensor.detach().cpu().clone() for name, tensor in self.state_dict().items()}
        self._prepare_fit(examples)
        try:
            made = self._label_loss(examples) if objective is None else objective(self)
            train(made, examples, held_out, as_examples(unlabelled, self.fields, text), fitting)
        except BaseException:
            self.restart()
            raise
        self._classes = labels_as_given(self.labels, found.given.values())
        self.eval()
        return self

    def _prepare_fit(self, examples: Sequence[Example]) -> None:
        """What a kind of classifier does with the examples before it is trained on them."""

    def _label_loss(self, examples: Sequence[Example]) -> Objective[Any]:
        weights = self.fitting.class_weight
        known = [example.label for example in examples]
        return LabelLoss(self, balanced_weights(known) if isinstance(weights, str) else weights)

    def restart(self) -> None:
        """Put the weights back from before ``fit``, if there was one."""
        if self._start is not None:
            self.load_state_dict(self._start)

    def _labelled(
        self, texts: Sources, labels: Iterable[Any] | str | None, text: Columns, label: str | None
    ) -> LabelledExamples:
        found = super()._labelled(texts, labels, text, label)
        self.targets(found.examples)  # refuses a label that is not known
        return found

    def calibrate(
        self,
        texts: Sources,
        batch_size: int = 64,
        *,
        mean: Literal["geometric", "arithmetic"] = "geometric",
        text: Columns = None,
    ) -> Self:
        """Take the model's preference for some labels out of its predictions, as measured on texts without labels.

        Source: see ``nlpkit.pet.scoring.calibrated``, and for the two means ``nlpkit.pet.scoring.label_prior``.

        Args:
            texts: unlabelled texts of the task whose labels are about equally frequent (batch calibration); or
                content-free ones such as ``["", "N/A"]`` (contextual calibration, and with ``[""]`` alone PMI), which
                then stand for every field.
            batch_size: examples per forward pass.
            mean: of the texts' probabilities: ``"arithmetic"`` as in the papers, or ``"geometric"``, the mean of
                log-probabilities. They are the same for one text.
            text: the column of the text, or of each field, where it has another name.

        Returns:
            The classifier itself. Training goes on from the calibrated scores, and keeps the prior as it is.

        Raises:
            ValueError: no texts, examples that bring candidates of their own, or an unknown mean.

        Warns:
            UserWarning: fewer than 64 texts of the task; results depend on which they are (docs/pet.md has figures).
        """
        if not self.labels:
            raise ValueError("a prior over labels needs common labels; these examples bring candidates of their own")
        examples = calibration_examples(texts, self.fields, text)
        before, self._prior = self._prior, None
        try:
            before = label_prior(self.scores(examples, batch_size), mean)
        finally:
            self._prior = before
        return self

    def _with(self, parameters: dict[str, Any], changed: set[str]) -> Self:
        asked = {name: getattr(self, name) for name in self.question_settings}
        if self.calibration not in changed and ("model" in changed or not self.same_question(parameters, asked)):
            measured = parameters[self.calibration]
            if "model" not in changed and measured is not None and measured.any():
                warnings.warn("the calibration was of another pattern or other labels; calibrate again", stacklevel=3)
            parameters[self.calibration] = None
        other = type(self)(**parameters)
        other._start = None if "model" in changed else self._start
        return other

    def settings(self) -> dict[str, Any]:
        """What ``pet.json`` holds, as JSON values."""
        return {
            "kind": type(self).__name__,
            "prior": None if self.prior is None else self.prior.tolist(),
            "classes": list(self._classes),
            "fitting": self.fitting.to_dict(),
        }

    def save_pretrained(self, save_directory: str | Path, *, max_shard_size: int | str = "50GB") -> None:
        """Save model, tokenizer and ``pet.json``, whole or not at all; the folder still loads as the model alone.

        Args:
            save_directory: made if it does not exist.
            max_shard_size: as for any model of transformers.

        Raises:
            TypeError: an argument of a subclass cannot be saved.
            ValueError: an adapter would be saved without a new head.
        """
        with whole_folder(save_directory, replacing=SAVED_MODEL) as draft:
            save_all_weights(self.model, draft, max_shard_size)
            self.tokenizer.save_pretrained(draft)
            self._save_more(draft)
            settings = self.settings()
            own = {*self._arguments()} - {"model", "tokenizer", *self.saved_settings, *settings}
            write_json(draft / SETTINGS_FILE, settings | json_arguments(self, sorted(own)))

    @classmethod
    @abstractmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **settings: Any) -> Self:
        """Load a model and make it a classifier, or load a saved classifier."""

    @classmethod
    def read_settings(cls, source: str | Path, given: Mapping[str, Any], hub: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a saved classifier, if there is one, with those that are given in their place.

        Args:
            source: a folder, the name of a shipped model, or a repository on the Hub.
            given: settings by name; ``None`` leaves the saved one.
            hub: how to find a repository.

        Raises:
            FileNotFoundError: there is no such source.
            ValueError: it holds another kind of classifier, or its settings are broken.

        Warns:
            UserWarning: the saved calibration is of another question than what is given, and is left out.
        """
        known = list(dict.fromkeys([*cls.saved_settings, *cls._arguments()]))
        saved = read_settings(source, cls.__name__, known, hub)
        changed = {name: value for name, value in given.items() if value is not None}
        kept = {name: value for name, value in saved.items() if name not in changed}
        settings = cls._open_more(kept, source, hub) | changed
        if saved and not cls.same_question(saved, settings):
            settings["classes"] = ()
            settings[cls.calibration] = changed.get(cls.calibration)
            if cls.calibration not in changed and any(saved.get(cls.calibration) or ()):
                warnings.warn(
                    f"the calibration saved in {source} is of another pattern or other labels, and is left out; "
                    "calibrate again",
                    stacklevel=3,
                )
        return settings

    @classmethod
    def same_question(cls, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether settings ask the same, in the same order of labels."""
        asked = [json.dumps([settings.get(name) for name in cls.question_settings]) for settings in (one, other)]
        return asked[0] == asked[1]

    @classmethod
    def made_of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any]) -> Self:
        """Construct a classifier from settings as ``read_settings`` returns them."""
        own = dict(settings)
        classes = own.pop("classes", ())
        made = cls(model=model, tokenizer=tokenizer, **own)
        if classes:
            made._classes = tuple(classes)
        return made

    def _save_more(self, folder: Path) -> None:
        """Save what belongs to the classifier beside the model and its settings."""

    @classmethod
    def _open_more(cls, saved: dict[str, Any], source: str | Path, hub: Mapping[str, Any]) -> dict[str, Any]:
        """Saved settings, with what ``_save_more`` saved in the place of what stands for it in ``pet.json``."""
        return saved
