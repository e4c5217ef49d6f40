"""Several classifiers as one: weighted averages of their scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.data.rows import read_rows
from nlpkit.files import read_json, whole_folder, write_json
from nlpkit.pet.classifiers.estimator import NESTED, Estimator, labels_as_given
from nlpkit.pet.classifiers.loading import load_one, saved_kind
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import Sources, as_examples
from nlpkit.pet.saving import SETTINGS_FILE, split_settings
from nlpkit.pet.scoring import refuse_no_numbers
from nlpkit.pet.training.fitting import Fitting, checked_fitting
from nlpkit.sources import find_file


def weighted_mean(scores: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Mean of the members' log-probabilities.

    Source: PET (arXiv 2001.07676, section 3.4): uniform, or weighted by each member's accuracy on the training set
    before training; the mean is of scores, and the members' unknown constants are taken out first.

    Args:
        scores: of each member, ``(examples, labels)``.
        weights: one per member, finite and not negative; ``None`` means equal. If all are 0 they count as equal.

    Returns:
        Shape ``(examples, labels)``.

    Raises:
        ValueError: no members, another number of weights, a negative one, or scores or weights that are not finite.

    Example:
        >>> weighted_mean([torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 2.0]])], [1, 3]).exp()
        tensor([[0.5000, 0.5000]])
    """
    if not scores:
        raise ValueError("an ensemble needs at least one member")
    shares = torch.tensor(_checked_weights(weights, len(scores)), dtype=torch.float64)
    if shares.sum() == 0:
        shares = torch.ones_like(shares)
    logs = torch.stack([refuse_no_numbers(member).log_softmax(dim=-1) for member in scores])  # (members, rows, labels)
    return (logs * (shares / shares.sum()).to(logs)[:, None, None]).sum(dim=0)


def _checked_weights(weights: Sequence[float] | None, members: int) -> list[float]:
    if weights is None:
        return [1.0] * members
    if len(weights) != members:
        raise ValueError(f"weights must be one number per member; got {weights} for {members} members")
    return [checked_number(f"weights[{place}]", float(one), least=0) for place, one in enumerate(weights)]


class Ensemble(Estimator):
    """Classifiers for the same labels whose scores are averaged, each with its own pattern or seed.

    Args:
        members: with the same labels.
        weights: see ``weighted_mean``.
        fitting: of all members, by ``fit``; ``None`` leaves each its own.

    Warns:
        UserWarning: a member changes ``predict_proba`` or ``predict``, which are not asked.

    Raises:
        TypeError: a member that is an ensemble itself, or finds any number of labels.
        ValueError: members with other labels, or none; or not one weight for each, finite and not negative.

    Example:
        >>> from nlpkit.pet import PetClassifier
        >>> patterns = ["{text}总之，我很{mask}。", "我很{mask}。{text}"]
        >>> words = {"good": "满意", "bad": "失望"}
        >>> members = [PetClassifier.from_pretrained("wobert-mini-zh", pattern, words) for pattern in patterns]
        >>> Ensemble(members).calibrate([""]).predict(["房间又大又干净", "空调坏了没人修"])
        ['good', 'bad']
    """

    #: Whether a text has one label, and not any number of them.
    one_label: ClassVar[bool] = True

    def __init__(
        self,
        members: Sequence[TextClassifier],
        weights: Sequence[float] | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        if wrong := [member for member in members if not (isinstance(member, TextClassifier) and member.one_label)]:
            raise TypeError(
                "members must be single classifiers that find one label per text; got "
                f"{type(wrong[0]).__name__}: give the members of an Ensemble themselves, and average predict_proba of "
                "classifiers for several labels"
            )
        if len({member.labels for member in members}) != 1:
            raise ValueError(f"members must have the same labels; got {[member.labels for member in members]}")
        checked_fitting(fitting)
        own_weights = None if weights is None else _checked_weights(weights, len(members))
        for kind in {type(member) for member in members}:
            if own := [
                name for name in ("predict_proba", "predict") if getattr(kind, name) is not getattr(Estimator, name)
            ]:
                warnings.warn(
                    f"{kind.__name__} has a {own[0]} of its own, which an ensemble does not ask: it averages what "
                    "scores() gives; write the change there",
                    stacklevel=2,
                )
        self.members, self.weights = list(members), own_weights  # plain numbers, which can be saved
        self._fitting = fitting
        self._classes = members[0]._classes

    @property
    def fitting(self) -> Fitting:  # type: ignore[override]
        """How members are trained."""
        return self._fitting or self.members[0].fitting

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores."""
        return self.members[0].labels

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that any of the members needs."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.fields))

    def _shown(self) -> dict[str, str]:
        return {"members": repr(self.members)}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """As of ``Estimator``; ``fitting`` is ``None`` where each member has its own."""
        return super().get_params(deep) | {"fitting": self._fitting}

    def set_params(self, **given: Any) -> Self:
        """As of ``Estimator``; where each member has its own ``fitting``, each keeps what is not given of it."""
        own = {name: value for name, value in given.items() if not name.startswith(NESTED)}
        changes = {name.removeprefix(NESTED): given[name] for name in given.keys() - own.keys()}
        if own.get("fitting", self._fitting) is not None or not changes.keys() <= vars(self.fitting).keys():
            return super().set_params(**given)
        changed = [replace(member.fitting, **changes) for member in own.get("members", self.members)]
        super().set_params(**own)
        for member, fitting in zip(self.members, changed, strict=True):
            member.fitting = fitting
        return self

    def scores(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> Tensor:
        """Log-probabilities up to a constant per row, ``(examples, labels)``."""
        examples = as_examples(sources, self.fields, text)
        return weighted_mean([member.scores(examples, batch_size) for member in self.members], self.weights)

    def fit(
        self,
        texts: Sources,
        labels: Iterable[Any] | str | None = None,
        *,
        text: Columns = None,
        label: str | None = None,
        **settings: Any,
    ) -> Self:
        """Train every member by its own ``fit``.

        Args:
            texts: as for ``TextClassifier.fit``, like all others.
            labels: likewise.
            text: likewise.
            label: likewise.
            **settings: ``validation``, ``unlabelled`` and ``objective``, likewise.
        """
        found = self._labelled(texts, labels, text, label)
        for member in self.members:
            if self._fitting is not None:
                member.fitting = self._fitting
            member.fit(found.examples, **settings)
        self._classes = labels_as_given(self.labels, found.given.values())
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Whether every member can answer."""
        return all(member.__sklearn_is_fitted__() for member in self.members)

    def restart(self) -> None:
        """Forget what ``fit`` has taught the members."""
        for member in self.members:
            member.restart()

    def calibrate(self, texts: Sources, batch_size: int = 64, **settings: Any) -> Self:
        """Calibrate every member on texts without labels; see ``TextClassifier.calibrate``."""
        rows = read_rows(texts)
        for member in self.members:
            member.calibrate(texts if rows.columns is not None else rows.values, batch_size, **settings)
        return self

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Save every member in a folder of its own, and the weights in ``pet.json``, whole or not at all.

        Args:
            save_directory: made if it does not exist.
        """
        with whole_folder(save_directory) as draft:
            for number, member in enumerate(self.members):
                member.save_pretrained(draft / f"member-{number}")
            settings = {
                "kind": "Ensemble",
                "members": [type(member).__name__ for member in self.members],
                "weights": self.weights,
                "classes": list(self._classes),
                "fitting": None if self._fitting is None else self._fitting.to_dict(),
            }
            write_json(draft / SETTINGS_FILE, settings)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        classes: Sequence[type[TextClassifier]] = (),
        **settings: Any,
    ) -> Self:
        """Load a saved ensemble.

        Args:
            pretrained_model_name_or_path: a folder, or a repository on the Hub.
            classes: of members that are no classifiers of nlpkit.
            **settings: of all members, ``revision`` or ``dtype`` for example, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it holds no ensemble.
        """
        _, hub, _ = split_settings(settings)
        file = find_file(pretrained_model_name_or_path, SETTINGS_FILE, **hub)
        saved = {} if file is None else read_json(file)
        members, weights, fitting = saved.get("members"), saved.get("weights"), saved.get("fitting")
        if saved.get("kind") != cls.__name__ or not isinstance(members, list):
            raise ValueError(f"{pretrained_model_name_or_path} holds no {cls.__name__}; save one there first")
        folder = Path(settings.pop("subfolder", ""))
        loaded = [
            load_one(
                pretrained_model_name_or_path,
                str(kind),
                classes,
                **settings,
                subfolder=str(folder / f"member-{number}"),
            )
            for number, kind in enumerate(members)
        ]
        made = cls(loaded, weights, None if fitting is None else Fitting(**fitting))
        made._classes = tuple(saved.get("classes", ()))
        return made


def load_classifier(
    pretrained_model_name_or_path: str | Path, *, classes: Sequence[type[TextClassifier]] = (), **settings: Any
) -> TextClassifier | Ensemble:
    """Load a saved classifier, of whatever kind it is.

    Args:
        pretrained_model_name_or_path: a folder, or a repository on the Hub.
        classes: that are no classifiers of nlpkit, one of which it may be, or its members.
        **settings: as for ``from_pretrained`` of its class.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no classifier.
    """
    _, hub, _ = split_settings(settings)
    kind = saved_kind(pretrained_model_name_or_path, **hub)
    if kind is None:
        raise ValueError(
            f"{pretrained_model_name_or_path} holds no saved classifier; construct one with its from_pretrained, e.g. "
            "PetClassifier.from_pretrained(..., pattern=..., verbalizer=...)"
        )
    if kind == Ensemble.__name__:
        return Ensemble.from_pretrained(pretrained_model_name_or_path, classes=classes, **settings)
    return load_one(pretrained_model_name_or_path, kind, classes, **settings)
