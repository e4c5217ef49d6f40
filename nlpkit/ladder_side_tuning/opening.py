"""A ladder's folder where transformers expects a model's: for ``AutoModelFor...``, ``pipeline`` and ``AutoConfig``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import ADAPTER_CONFIG_NAME

from nlpkit.files import read_json
from nlpkit.ladder_side_tuning.configuration import LADDER_TYPE
from nlpkit.ladder_side_tuning.modeling import LadderModel
from nlpkit.ladder_side_tuning.saved.loading import SavedLadder, read_ladder
from nlpkit.ladder_side_tuning.saved.settings import settings_of_states
from nlpkit.sources import find_file

_HUB = ("revision", "subfolder", "cache_dir", "token", "local_files_only", "force_download")
#: What the backbone is loaded with, as it would be by itself.
_LOADING = (
    *("dtype", "torch_dtype", "device_map", "max_memory", "attn_implementation", "quantization_config"),
    *("ignore_mismatched_sizes", "output_loading_info"),
)
#: What transformers passes on its own account; the ladder's files say it already, or it is of no use here.
_PASSED_OVER = ("config", "adapter_kwargs", "trust_remote_code", "code_revision", "use_safetensors", "weights_only")
#: What a configuration says of its own files, and not of a model.
_OF_FILES = ("_name_or_path", "transformers_version", "architectures", "dtype")


def is_ladder(source: str | Path, **hub: Any) -> bool:
    """Whether a folder or a repository holds a saved ladder.

    Args:
        source: the folder or the repository's name.
        **hub: as for ``nlpkit.sources.find_file``.
    """
    try:
        path = find_file(source, ADAPTER_CONFIG_NAME, **hub)
    except FileNotFoundError:
        return False
    return path is not None and read_json(path).get("peft_type") == LADDER_TYPE


def open_ladder(
    auto_class: Any, source: str | Path, **options: Any
) -> PreTrainedModel | tuple[PreTrainedModel, dict[str, Any]]:
    """Load a ladder beside its own backbone for one of transformers' Auto classes.

    Args:
        auto_class: whose model is wanted. ``AutoModel`` gives the bare model of any ladder.
        source: a folder, or a repository on the Hub.
        **options: of ``from_pretrained``: where to look, how the backbone is loaded, and settings of its
            configuration, such as ``id2label``, by name or in a ``config``.

    Returns:
        The ladder, in evaluation mode; with ``output_loading_info`` also transformers' report, in which what the
        ladder's own files hold is not missing.

    Raises:
        TypeError: an unknown option.
        ValueError: the ladder was trained with another head than that of the Auto class, with another number of
            labels, or beside a backbone with other settings.
    """
    hub = {name: options.pop(name) for name in _HUB if name in options}
    loading = {name: options.pop(name) for name in _LOADING if name in options}
    if (dtype := loading.pop("torch_dtype", None)) is not None:
        loading.setdefault("dtype", dtype)
    if loading.get("dtype") == "auto" or loading.get("dtype", "") is None:
        del loading["dtype"]  # that of training
    hub = {name: value for name, value in hub.items() if value is not None}
    saved = read_ladder(source, **hub)
    own, _ = saved.load_config(**_where(hub))
    settings = _changes(own, options.get("config"), source, _where(hub)) | _settings(options)
    _refuse_other_states(own, settings, source)
    config, unknown = saved.load_config(settings, **_where(hub))
    if unknown:
        raise TypeError(
            f"{auto_class.__name__} opens the ladder in {source} and takes no {min(unknown)!r} with it; "
            "load the backbone as you want it, and give it as LadderModel.from_pretrained(backbone, folder)"
        )
    wants_report = bool(loading.pop("output_loading_info", False))
    backbone, report = saved.load_with_report(loading, config, **hub)
    names = _names_of(auto_class, backbone.config)
    bare: Any = backbone.base_model
    prefix = ""
    if type(backbone).__name__ not in names:
        if type(bare).__name__ not in names:
            raise ValueError(
                f"the ladder in {source} was trained with a {type(backbone).__name__}, and {auto_class.__name__} "
                f"gives {' or '.join(names) or 'none of its kind'}; open it with LadderModel.from_pretrained(folder)"
            )
        prefix = backbone.base_model_prefix
        backbone, saved = bare, saved.without_head(prefix)
    ladder = LadderModel.beside(backbone, saved)
    return (ladder, _report(report, saved, prefix)) if wants_report else ladder


def _report(report: dict[str, Any], saved: SavedLadder, prefix: str) -> dict[str, Any]:
    """What was missing in the backbone's files and in the ladder's, by the names of the model that is given."""

    def is_missing(name: str) -> bool:
        return name.startswith(start) and name.removeprefix(start) not in saved.state

    start = prefix and f"{prefix}."
    return {
        **report,
        "missing_keys": {key.removeprefix(start) for key in report["missing_keys"] if is_missing(key)},
        "mismatched_keys": {
            (name.removeprefix(start), *shapes) for name, *shapes in report["mismatched_keys"] if is_missing(name)
        },
    }


def config_of_ladder(source: str | Path, **options: Any) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """The configuration of a ladder's backbone, with the ladder's head settings.

    Args:
        source: a folder, or a repository on the Hub.
        **options: where to look, and further settings.

    Returns:
        The configuration, and the settings that it does not know.
    """
    return _read(source, options).load_config(_settings(options), **_where(options))


def home_of_ladder(source: str | Path, **options: Any) -> str:
    """Where a ladder's backbone was loaded from, and where its tokenizer is.

    Args:
        source: a folder, or a repository on the Hub.
        **options: where to look.
    """
    return str(_read(source, options).load_config(**_where(options))[0].name_or_path)


def _changes(own: PreTrainedConfig, given: Any, source: str | Path, where: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says in another way than that of a ladder's backbone.

    Args:
        own: of the ladder's backbone and head.
        given: another one, or where it is; ``None`` says nothing. Labels without names keep those of the ladder.
        source: of the ladder, for messages.
        where: to look for it.

    Raises:
        ValueError: it is of another kind of model.
    """
    if given is None:
        return {}
    config = given if isinstance(given, PreTrainedConfig) else AutoConfig.from_pretrained(given, **where)
    if type(config) is not type(own):
        raise ValueError(
            f"config is a {type(config).__name__}, and the ladder in {source} was trained beside a model with a "
            f"{type(own).__name__}; leave it out"
        )
    before = own.to_dict()
    changed = {
        name: value
        for name, value in config.to_dict().items()
        if name not in _OF_FILES and (name not in before or before[name] != value)
    }
    unnamed = {number: f"LABEL_{number}" for number in range(own.num_labels or 0)}
    if config.id2label == unnamed:
        changed = {name: value for name, value in changed.items() if name not in ("id2label", "label2id")}
    return changed


def _refuse_other_states(own: PreTrainedConfig, settings: dict[str, Any], source: str | Path) -> None:
    """Refuse settings by which the backbone would have other states than those that a ladder was trained on."""
    before = own.to_dict()
    for name, value in settings_of_states(settings).items():
        if name in before and before[name] != value:
            raise ValueError(
                f"{name}={value!r} would change the states that the ladder in {source} was trained on, with "
                f"{name}={before[name]!r}; leave it out, or train a ladder beside such a model"
            )


def _read(source: str | Path, options: dict[str, Any]) -> SavedLadder:
    return read_ladder(source, **{name: options[name] for name in _HUB if options.get(name) is not None})


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are settings of a configuration."""
    known = (*_HUB, *_LOADING, *_PASSED_OVER)
    return {name: value for name, value in options.items() if name not in known and not name.startswith("_")}


def _where(options: dict[str, Any]) -> dict[str, Any]:
    names = ("cache_dir", "token", "local_files_only")
    return {name: options[name] for name in names if options.get(name) is not None}


def _names_of(auto_class: Any, config: PreTrainedConfig) -> list[str]:
    """The classes that an Auto class may give for a configuration."""
    found = auto_class._model_mapping.get(type(config), ())
    return [kind.__name__ for kind in (found if isinstance(found, tuple) else (found,))]
