"""A saved classifier: the model's own folder, and what makes it a classifier in ``pet.json``."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from nlpkit.files import read_json
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.sources import find_file

#: Beside the model's own files in a saved folder.
SETTINGS_FILE = "pet.json"
#: What ``from_pretrained`` of transformers takes to find a repository on the Hub.
HUB = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download")


def load_in_fp32(kind: Any, source: str, hub: Mapping[str, Any], **settings: Any) -> Any:
    """Load a model, whatever dtype it was saved in.

    Args:
        kind: an Auto class of transformers.
        source: what ``find_model`` found.
        hub: how to find a repository.
        **settings: further ones of ``from_pretrained``.

    Returns:
        What ``from_pretrained`` does.

    Raises:
        ValueError: its weights or their index are damaged; the message names the folder.
    """
    # Checked on transformers 5.23.0: it looks for an adapter's config without these, online if need be.
    adapter = {name: hub[name] for name in ("cache_dir", "local_files_only", "subfolder") if name in hub}
    try:
        return kind.from_pretrained(source, dtype="float32", adapter_kwargs=adapter, **hub, **settings)
    except (SafetensorError, JSONDecodeError) as error:
        raise ValueError(
            f"the weights in {source} are damaged or cut off ({error}); save or fetch them again"
        ) from error


def read_settings(
    source: str | Path, given: Mapping[str, Any], known: tuple[str, ...], hub: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a saved classifier, if there is one, with those that are given in their place.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub.
        given: settings by name; ``None`` leaves the saved one.
        known: names of settings that the kind of classifier saves.
        hub: how to find a repository.

    Returns:
        Settings with at least ``pattern`` and ``verbalizer``, the latter perhaps ``None``.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: no pattern is known, or the file is broken; the message names it.
    """
    file = find_file(source, SETTINGS_FILE, **hub)
    settings = {"verbalizer": None} if file is None else _read(file, known)
    settings |= {name: value for name, value in given.items() if value is not None}
    if "pattern" not in settings:
        raise ValueError(f"{source} holds no saved classifier; give a pattern, e.g. pattern='{{mask}}满意。{{text}}'")
    return settings


def _read(file: Path, known: tuple[str, ...]) -> dict[str, Any]:
    settings = read_json(file)
    try:
        for name in ("pattern", "verbalizer"):
            if name not in settings:
                raise ValueError(f"{name} is missing")
        for name, value in settings.items():
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; known are {', '.join(known)}")
            if not _FITS[name](value):
                raise ValueError(f"{name} cannot be {value!r}")
        pattern, verbalizer = Pattern(settings["pattern"]), settings["verbalizer"]
        settings["verbalizer"] = verbalizer = None if verbalizer is None else Verbalizer(**verbalizer)
        if settings.get("prior") is not None and len(settings["prior"]) != len(
            verbalizer.labels if verbalizer else ()
        ):
            raise ValueError(f"prior has {len(settings['prior'])} numbers, not one per label")
        if len(settings.get("soft_token_ids", ())) != pattern.soft_tokens:
            raise ValueError(f"soft_token_ids are not the {pattern.soft_tokens} of pattern {pattern.template!r}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} does not describe a saved classifier: {error}; save the classifier again") from error
    return settings


def _are(kind: type | tuple[type, ...], values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) and value is not True for value in values)


_FITS = {
    "pattern": lambda value: isinstance(value, str),
    "verbalizer": lambda value: value is None or isinstance(value, dict),
    "max_length": lambda value: _are(int, [value]) and value > 0,
    "prior": lambda value: value is None or _are((int, float), value),
    "soft_token_ids": lambda value: _are(int, value),
}
