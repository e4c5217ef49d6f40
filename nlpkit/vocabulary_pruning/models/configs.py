"""Ids of tokens in the settings of a model and of its generation, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

#: Settings that are an id, or ids of which none can be spared.
_NAMED = re.compile(
    r".*_token_(id|index)|(bos|eos|pad|unk|mask)_index|forced_decoder_ids|force_words_ids|(lang|lang_code|task)_to_id"
)
#: Settings that are the number of rows, as models call it; some say it once more for a part or for a second table.
_SIZES = re.compile(r"n_words|((src|tgt|encoder|decoder|unpadded)_)?vocab_size(_per_layer_input)?")
#: Settings that forbid or favour tokens: of one that is gone nothing need be said.
_SPARED = re.compile(r"(begin_)?suppress_tokens|bad_words_ids|sequence_bias")

Settings = PreTrainedConfig | GenerationConfig


def named_ids(settings: Mapping[Any, Any], rows: int) -> set[int]:
    """Ids that settings name and the model must keep.

    Args:
        settings: as ``config.json`` or ``generation_config.json`` has them.
        rows: of the model; parts of it with another ``vocab_size`` have ids of their own.

    Raises:
        ValueError: an id that the model has no row for.

    Example:
        >>> sorted(named_ids({"eos_token_id": [1, 7], "text_config": {"vocab_size": 9, "pad_token_id": 0}}, 9))
        [0, 1, 7]
    """
    found: set[int] = set()
    for name, value in _settings(settings, rows):
        if _NAMED.fullmatch(name):
            ids = set(_ids(name, value))
            if outside := sorted(number for number in ids if number >= rows):
                raise ValueError(
                    f"the model's settings have {name}={value!r}, but it has {rows} rows; mend {outside[0]}"
                )
            found |= ids
    return found


def _settings(settings: Mapping[Any, Any], rows: int) -> Iterator[tuple[str, Any]]:
    if settings.get("vocab_size") not in (None, rows):
        return
    for name, value in settings.items():
        if not isinstance(name, str):  # as labels by their numbers
            continue
        if isinstance(value, Mapping) and not (_NAMED.fullmatch(name) or _SPARED.fullmatch(name)):
            yield from _settings(value, rows)
        else:
            yield name, value


def _ids(name: str, value: Any) -> Iterator[int]:
    """The ids in a value, but for negative ones, which stand for none."""
    if name == "forced_decoder_ids":
        value = [number for _, number in value or ()]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _ids("", one)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        yield value


def with_new_ids(settings: Mapping[str, Any], new_ids: Mapping[int, int], rows: int, new_rows: int) -> dict[str, Any]:
    """Settings with the ids of a pruned vocabulary.

    Args:
        settings: as ``named_ids`` takes them.
        new_ids: of the kept ids, all named ones among them.
        rows: of the model before.
        new_rows: of the model now.

    Example:
        >>> with_new_ids({"vocab_size": 9, "eos_token_id": [1, 7], "suppress_tokens": [2, 7]}, {1: 0, 7: 1}, 9, 2)
        {'vocab_size': 2, 'eos_token_id': [0, 1], 'suppress_tokens': [1]}
    """
    if settings.get("vocab_size") not in (None, rows):
        return dict(settings)
    return {name: _with_new_ids(name, value, new_ids, rows, new_rows) for name, value in settings.items()}


def _with_new_ids(name: object, value: Any, new_ids: Mapping[int, int], rows: int, new_rows: int) -> Any:
    if not isinstance(name, str):
        return value
    if _SIZES.fullmatch(name):
        return new_rows if value == rows else value
    if name == "forced_decoder_ids":
        return value and [[place, _mapped(number, new_ids)] for place, number in value]
    if _NAMED.fullmatch(name):
        return _mapped(value, new_ids)
    if _SPARED.fullmatch(name):
        return _spared(name, value, new_ids)
    return with_new_ids(value, new_ids, rows, new_rows) if isinstance(value, Mapping) else value


def _mapped(value: Any, new_ids: Mapping[int, int]) -> Any:
    if isinstance(value, Mapping):
        return {name: _mapped(one, new_ids) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(one, new_ids) for one in value]
    return new_ids[value] if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


def _spared(name: str, value: Any, new_ids: Mapping[int, int]) -> Any:
    def kept(ids: Iterable[int]) -> bool:
        return all(number in new_ids for number in ids)

    if not value:
        return value
    if name == "bad_words_ids":
        return [_mapped(ids, new_ids) for ids in value if kept(ids)] or None
    if name == "sequence_bias":
        pairs = value.items() if isinstance(value, Mapping) else value
        return [[_mapped(ids, new_ids), bias] for ids, bias in pairs if kept(ids)] or None
    return [new_ids[number] for number in value if number in new_ids]


def settings_of(config: Settings) -> dict[str, Any]:
    """The settings that an object holds, nested ones as mappings."""
    return {
        name: settings_of(value) if isinstance(value, PreTrainedConfig) else value
        for name, value in vars(config).items()
    }


def settings_of_model(model: PreTrainedModel) -> list[dict[str, Any]]:
    """The settings of a model, and of its generation if it has such."""
    both = model.config, getattr(model, "generation_config", None)
    return [settings_of(one) for one in both if one is not None]


def parts_of(config: Settings, rows: int) -> Iterator[Settings]:
    """Settings with those inside them, but for parts with another ``vocab_size``, which have ids of their own."""
    if getattr(config, "vocab_size", None) not in (None, rows):
        return
    yield config
    for value in vars(config).values():
        if isinstance(value, PreTrainedConfig):
            yield from parts_of(value, rows)


def set_new_ids(config: Settings, new_ids: Mapping[int, int], rows: int, new_rows: int) -> None:
    """Put the ids of a pruned vocabulary into an object that holds settings, in place."""
    for part in list(parts_of(config, rows)):
        for name, value in list(vars(part).items()):
            if not isinstance(value, PreTrainedConfig):
                new = _with_new_ids(name, value, new_ids, rows, new_rows)
                if new != value:
                    setattr(part, name, new)


def set_rows(config: PreTrainedConfig, rows: int, new_rows: int) -> None:
    """Put another number of rows into all settings that say it, in place.

    Raises:
        ValueError: none does, or one says another number: there is a second vocabulary, or another table of this one.
    """
    found = [(part, name) for part in parts_of(config, rows) for name in vars(part) if _SIZES.fullmatch(name)]
    sizes = {name: getattr(part, name) for part, name in found if getattr(part, name) is not None}
    if not sizes:
        raise ValueError(f"the settings of {type(config).__name__} have no vocab_size; it cannot be pruned")
    if other := [name for name, size in sizes.items() if size != rows]:
        raise ValueError(
            f"the settings of {type(config).__name__} have {other[0]}={sizes[other[0]]} beside {rows} rows: another "
            "vocabulary, or another table of this one; it cannot be pruned"
        )
    for part, name in found:
        if name in sizes:
            setattr(part, name, new_rows)
