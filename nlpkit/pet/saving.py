"""A saved classifier: the model's own folder, and what makes it a classifier in ``pet.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.utils import ADAPTER_CONFIG_NAME

from nlpkit.files import read_json
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.pet.training.fitting import Fitting
from nlpkit.sources import find_file, find_model

#: Beside the model's own files in a saved folder.
SETTINGS_FILE = "pet.json"
#: What ``from_pretrained`` of transformers takes to find a repository on the Hub.
HUB = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download")


def split_settings(
    settings: Mapping[str, Any], own: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings of a ``from_pretrained`` by whom they are for.

    Args:
        settings: all that were given.
        own: names of those of the class itself.

    Returns:
        Those of the class, those that find a repository, and the others, which are the model's.

    Example:
        >>> split_settings({"max_length": 64, "revision": "older", "dtype": "bfloat16"}, ["max_length"])
        ({'max_length': 64}, {'revision': 'older'}, {'dtype': 'bfloat16'})
    """
    parts: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
    for name, value in settings.items():
        parts[0 if name in own else 1 if name in HUB else 2][name] = value
    return parts


def load_in_fp32(kind: Any, source: str, hub: Mapping[str, Any], **settings: Any) -> Any:
    """Load a model, whatever dtype it was saved in, unless another is asked for.

    Args:
        kind: an Auto class of transformers.
        source: what ``find_model`` found.
        hub: how to find a repository.
        **settings: further ones of ``from_pretrained``, ``dtype`` and ``device_map`` for example.

    Returns:
        What ``from_pretrained`` does.

    Raises:
        TypeError: a setting that the model does not have either.
        FileNotFoundError: an adapter's base model is not there.
        ValueError: its weights or their index are damaged; the message names the folder. Or an adapter's base model
            was made in memory.
    """
    _refuse_lost_base(source, hub)
    # Checked on transformers 5.23.0: it looks for an adapter's config without these, online if need be.
    adapter = {name: hub[name] for name in ("cache_dir", "local_files_only", "subfolder") if name in hub}
    dtype = settings.pop("dtype", None) or settings.pop("torch_dtype", None) or "float32"
    try:
        return kind.from_pretrained(source, dtype=dtype, adapter_kwargs=adapter, **hub, **settings)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise TypeError(
            f"{error}: it is no argument of the class that is loaded either; leave it out, or look how it is written"
        ) from error
    except (SafetensorError, JSONDecodeError) as error:
        raise ValueError(
            f"the weights in {source} are damaged or cut off ({error}); save or fetch them again"
        ) from error


def json_arguments(made: Any, names: Sequence[str]) -> dict[str, Any]:
    """What an object was constructed with, as JSON values.

    Args:
        made: the object.
        names: of the arguments.

    Raises:
        TypeError: an argument is kept under another name, or is no JSON value.
    """
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = json.loads(json.dumps(getattr(made, name)))
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{type(made).__name__} cannot be saved with its argument {name!r} ({error}): keep it as "
                f"self.{name}, as a text, a number, or lists and mappings of these"
            ) from error
    return found


def _refuse_lost_base(source: str, hub: Mapping[str, Any]) -> None:
    """Say which model an adapter lacks; what loads it would look for its name, or for none, on the Hub."""
    file = find_file(source, ADAPTER_CONFIG_NAME, **hub)
    if file is None or "base_model_name_or_path" not in (settings := read_json(file)):
        return
    home = settings["base_model_name_or_path"]
    advice = (
        "load that model, put the adapter on it by peft.PeftModel.from_pretrained(base, folder), and construct the "
        "classifier around both"
    )
    if not home:
        raise ValueError(f"{source} holds an adapter of a model that was not loaded from anywhere; {advice}")
    try:
        find_model(home, **{name: hub[name] for name in ("cache_dir", "token", "local_files_only") if name in hub})
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source} holds an adapter of a model that is gone ({error}); {advice}") from error


def brings_its_head(source: str | Path, hub: Mapping[str, Any]) -> bool:
    """Whether a folder holds what was trained beside a model, a ladder for one, with the settings of its head.

    Such a head is opened as it was trained: neither are other settings taken with it, nor can it be missing.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub.
        hub: how to find a repository.

    Raises:
        FileNotFoundError: there is no such source.

    Example:
        >>> brings_its_head("wobert-mini-zh", {})
        False
    """
    file = find_file(source, ADAPTER_CONFIG_NAME, **hub)
    return file is not None and "head" in read_json(file)


def read_settings(source: str | Path, kind: str, known: Sequence[str], hub: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a saved classifier; none where a model was saved alone.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub.
        kind: of classifier that is loaded, the name of its class.
        known: names of settings that it saves.
        hub: how to find a repository.

    Returns:
        Settings by name, as the class takes them: ``"verbalizer"``, ``"support"`` and ``"fitting"`` as such.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: it holds another kind of classifier, or the file is broken; the message names it.
    """
    file = find_file(source, SETTINGS_FILE, **hub)
    if file is None:
        return {}
    settings = read_json(file)
    found = settings.pop("kind", kind)  # older folders do not name it
    if found != kind:
        raise ValueError(f"{file} describes a {found}, not a {kind}; load it with nlpkit.pet.load_classifier")
    try:
        return _checked(settings, (*known, "classes", "fitting"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} does not describe a saved classifier: {error}; save the classifier again") from error


def _checked(settings: dict[str, Any], known: Sequence[str]) -> dict[str, Any]:
    for name in _NEEDED.intersection(known):
        if name not in settings:
            raise ValueError(f"{name} is missing")
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; known are {', '.join(known)}")
        if name in _FITS and not _FITS[name](value):
            raise ValueError(f"{name} cannot be {value!r}")
    labels: Sequence[str] = settings.get("labels") or list(settings.get("hypotheses") or ())
    if "words" in settings:
        labels = list(settings.get("names") or settings["words"])
    elif "pattern" in settings:
        pattern, verbalizer = Pattern(settings["pattern"]), settings["verbalizer"]
        settings["verbalizer"] = verbalizer = None if verbalizer is None else Verbalizer(**verbalizer)
        labels = verbalizer.labels if verbalizer else ()
        if len(settings.get("soft_token_ids", ())) != pattern.soft_tokens:
            raise ValueError(f"soft_token_ids are not the {pattern.soft_tokens} of pattern {pattern.template!r}")
    if settings.get("support") is not None:
        settings["support"] = [Example(one["fields"], one["label"]) for one in settings["support"]]
    if settings.get("fitting") is not None:
        settings["fitting"] = Fitting(**settings["fitting"])
    for name in ("prior", "classes"):
        values = settings.get(name)
        if values is not None and len(values) != len(labels) and (values or name == "prior"):
            raise ValueError(f"{name} has {len(settings[name])} numbers, not one per label")
    return settings


def _are(kind: type | tuple[type, ...], values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) and value is not True for value in values)


def _texts(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _examples(values: Any) -> bool:
    return _are(dict, values) and all(
        value.keys() == {"fields", "label"} and _texts(value["fields"]) and isinstance(value["label"], str)
        for value in values
    )


_NEEDED = frozenset({"pattern", "verbalizer", "labels", "premise", "hypotheses", "support", "words"})
_FITS = {
    "pattern": lambda value: isinstance(value, str),
    "verbalizer": lambda value: value is None or isinstance(value, dict),
    "max_length": lambda value: _are(int, [value]) and value > 0,
    "prior": lambda value: value is None or _are((int, float), value),
    "soft_token_ids": lambda value: _are(int, value),
    "classes": lambda value: (
        isinstance(value, list)
        and all(
            isinstance(one, (str, int, float)) and one == one
            for one in value  # NaN is not itself
        )
    ),
    "labels": lambda value: _are(str, value),
    "fields": lambda value: _are(str, value),
    "premise": lambda value: isinstance(value, str),
    "hypotheses": lambda value: value is None or _texts(value),
    "loss": lambda value: isinstance(value, str),
    "fitting": lambda value: value is None or isinstance(value, dict),
    "support": _examples,
    "samplings": lambda value: _are(int, [value]) and value > 0,
    "demonstration_length": lambda value: _are(int, [value]) and value > 0,
    "similar_share": lambda value: _are((int, float), [value]),
    "seed": lambda value: _are(int, [value]),
    "text_encoder": lambda value: value in (None, "given") or (_are(int, [value]) and value > 0),
    "words": lambda value: isinstance(value, (list, dict)),
    "names": lambda value: value is None or _texts(value),
    "thresholds": lambda value: value is None or _are((int, float), value),
}
