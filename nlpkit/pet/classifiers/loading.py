"""Saved classifiers of whatever kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlpkit.files import read_json
from nlpkit.pet.classifiers.choice import ChoiceClassifier
from nlpkit.pet.classifiers.demonstrations import DemonstratedClassifier
from nlpkit.pet.classifiers.heads import HeadClassifier
from nlpkit.pet.classifiers.multi_label import MultiLabelClassifier
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.classifiers.sentinels import SentinelClassifier
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.saving import SETTINGS_FILE
from nlpkit.sources import find_file

_KINDS: dict[str, type[TextClassifier]] = {
    kind.__name__: kind
    for kind in (
        PetClassifier,
        SentinelClassifier,
        HeadClassifier,
        ChoiceClassifier,
        DemonstratedClassifier,
        MultiLabelClassifier,
    )
}


def saved_kind(source: str | Path, **hub: Any) -> str | None:
    """The name of the class of a saved classifier; ``None`` where a model was saved alone.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub.
        **hub: for a repository, as for any model of transformers.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: its ``pet.json`` is broken.

    Example:
        >>> saved_kind("wobert-mini-zh") is None
        True
    """
    file = find_file(source, SETTINGS_FILE, **hub)
    if file is None:
        return None
    return str(read_json(file).get("kind", PetClassifier.__name__))


def load_one(
    source: str | Path, kind: str, classes: Sequence[type[TextClassifier]] = (), **settings: Any
) -> TextClassifier:
    """Load a classifier of a kind.

    Args:
        source: as for ``saved_kind``.
        kind: the name of its class.
        classes: that are no classifiers of nlpkit.
        **settings: as for its ``from_pretrained``.

    Raises:
        ValueError: there is no such kind.
    """
    known = _KINDS | {one.__name__: one for one in classes}
    if kind not in known:
        raise ValueError(
            f"{source} holds a {kind!r}, which is no classifier of nlpkit; load it with its own class, or give that: "
            f"classes=[{kind}]"
        )
    return known[kind].from_pretrained(source, **settings)
