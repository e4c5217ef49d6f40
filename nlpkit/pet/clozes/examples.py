"""What is classified: named texts, perhaps a label, perhaps candidates of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: The field of an example that is a plain text.
TEXT = "text"


@dataclass(frozen=True)
class Example:
    """Texts by name, with a label where one is known.

    Args:
        fields: texts by the names that patterns use, e.g. ``{"text_a": "...", "text_b": "..."}``.
        label: the right label, ``None`` where it is not known.
        candidates: words among which this example chooses, for tasks without common label words (a cloze with options
            of its own); the labels are then ``"0"``, ``"1"``, ... in their order.

    Example:
        >>> Example.of("屏幕很清楚").fields
        {'text': '屏幕很清楚'}
    """

    fields: Mapping[str, str]
    label: str | None = None
    candidates: tuple[str, ...] = ()

    def without_label(self) -> Example:
        """A copy that shares nothing mutable and does not know the label."""
        return Example(dict(self.fields), None, self.candidates)

    @classmethod
    def of(cls, source: Example | str | Mapping[str, str]) -> Example:
        """An example from a text, from texts by name, or as it is.

        Raises:
            TypeError: it is something else, or holds something else than text.
        """
        if isinstance(source, cls):
            return source
        fields = {TEXT: source} if isinstance(source, str) else source
        if not isinstance(fields, Mapping):
            raise TypeError(f"an example is a text, a mapping of names to texts, or an Example; got {source!r}")
        wrong = next((name for name, text in fields.items() if not isinstance(text, str)), None)
        if wrong is not None:
            raise TypeError(f"field {wrong!r} must be a text; got {fields[wrong]!r}")
        return cls(dict(fields))


def as_examples(sources: Iterable[Example | str | Mapping[str, str]]) -> list[Example]:
    """Examples from texts, mappings or examples; one text alone is refused: its characters would become examples.

    Raises:
        TypeError: ``sources`` is one text, or holds something that is no example.
    """
    if isinstance(sources, str):
        raise TypeError(f"give a list of texts, not one text: [{sources[:20]!r}]")
    return [Example.of(source) for source in sources]


#: The number of a label that is not known; losses pass over it.
NO_LABEL = -100


def label_number(example: Example, labels: Sequence[str]) -> int:
    """The place of an example's label, -100 where it has none.

    Args:
        example: the example.
        labels: the labels in their order; empty where the candidates of the example are numbered instead.

    Raises:
        ValueError: the label is not among them.

    Example:
        >>> label_number(Example({"text": "a"}, "no"), ["yes", "no"])
        1
    """
    if example.label is None:
        return NO_LABEL
    known = list(labels) or [str(number) for number in range(len(example.candidates))]
    if example.label not in known:
        raise ValueError(
            f"label {example.label!r} is not one of {', '.join(map(repr, known))}; give it words in the verbalizer, "
            "or leave the example out"
        )
    return known.index(example.label)
