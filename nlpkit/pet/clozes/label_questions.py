"""How a pattern asks for one of several labels: by its name and a pair of words, or by words of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from nlpkit.pet.clozes.examples import Label, given_labels, label_name
from nlpkit.pet.clozes.label_tokens import refuse_alike, tokens_within
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer

#: The field of a pattern where the name of a label stands.
LABEL_NAME = "label"


def words_and_labels(
    pattern: Pattern,
    words: Mapping[Any, str | Sequence[str]] | Sequence[str | Sequence[str]],
    names: Mapping[Any, str] | Sequence[Label] | None,
) -> tuple[dict[str, Any], tuple[Label, ...]]:
    """The verbalizer's words, and the labels as they were given.

    Args:
        pattern: with the field ``{label}`` or without.
        words: with it, a pair: what says that a label applies, and what says that it does not; without, the words of
            each label.
        names: with it, the labels, or what stands for each of them.

    Raises:
        ValueError: they do not fit each other.

    Example:
        >>> words_and_labels(Pattern("{text}{label}很{mask}。"), ("好", "差"), ["房间", "服务"])
        ({'applies': '好', 'does not apply': '差'}, ('房间', '服务'))
    """
    if LABEL_NAME not in pattern.fields:
        if not isinstance(words, Mapping) or names:
            raise ValueError(
                f"pattern {pattern.template!r} does not ask for a label by its name, {{label}}: words must give each "
                "label its words, and names are not used"
            )
        return {label_name(label): own for label, own in words.items()}, given_labels(words)
    if isinstance(words, (str, Mapping)) or len(words) != 2:
        raise ValueError(
            f"pattern {pattern.template!r} asks for each label by its name: words must be a pair, what says that it "
            f"applies and what says that it does not; got {words!r}"
        )
    if not names:
        raise ValueError(f"pattern {pattern.template!r} asks for each label by its name: give names=[...]")
    return {"applies": words[0], "does not apply": words[1]}, given_labels(names)


def named_labels(
    names: Mapping[Any, str] | Sequence[Label] | None, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, str]:
    """What stands for each label in a pattern: by default the label itself.

    Args:
        names: what was given; none where no name is asked for.
        labels: as texts.
        tokenizer: of the model.

    Raises:
        ValueError: two names are the same tokens.
    """
    if not names:
        return {}
    shown = list(map(str, names.values())) if isinstance(names, Mapping) else list(labels)
    refuse_alike(shown, [tokens_within(name, tokenizer) for name in shown], "names")
    return dict(zip(labels, shown, strict=True))


def question(settings: Mapping[str, Any]) -> list[Any]:
    """What settings of a classifier ask of a model, in a form that compares, whatever form they were given in.

    Args:
        settings: ``pattern``, ``words`` and ``names``.

    Example:
        >>> settings = {"pattern": "{text}{label}很{mask}。", "words": ("好", "差"), "names": ["房间", "服务"]}
        >>> question(settings) == question(settings | {"names": {"房间": "房间", "服务": "服务"}})
        True
        >>> question(settings) == question(settings | {"names": ["服务", "房间"]})
        False
    """
    pattern, names = Pattern.of(settings["pattern"]), settings.get("names")
    words, labels = words_and_labels(pattern, settings["words"], names)
    shown = names.values() if isinstance(names, Mapping) else labels
    return [pattern.template, list(Verbalizer(words).words.items()), list(map(str, labels)), list(shown)]
