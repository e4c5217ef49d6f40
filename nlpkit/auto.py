"""The only global registrations: transformers' Auto classes and pipelines find nlpkit's classes and saved ladders.

Nothing is imported here. transformers resolves the names of its own models on first use, in the module
``transformers.models.<model type>``; ours stand in the same tables, and that module is an alias of ``nlpkit``. A
ladder's folder is no model's: it is looked for before an Auto class goes to work, or, for a repository on the Hub,
where that has failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from nlpkit.compat import after_import, alias_module, open_first, register_names

MODEL_TYPE = "wobert"
TOKENIZER = "WoBertTokenizer"
#: The configuration of each model type of ours.
CONFIGS = {MODEL_TYPE: "WoBertConfig", "unilm": "UniLmConfig", "entities": "EntityConfig", "linking": "LinkingConfig"}
#: What the settings of a ladder's folder say in the place of PEFT's method.
LADDER_TYPE = "LADDER_SIDE_TUNING"

#: Which class serves which Auto class, by model type and the name of transformers' table. Of two, the one that a
#: folder was saved from, or the first: another head's rows may fit and mean something else. UniLM stands among causal
#: language models, whose answers begin with what they were given: the others would be handed labels as inputs.
MODELS: dict[str, dict[str, str | tuple[str, ...]]] = {
    MODEL_TYPE: {
        "MODEL_MAPPING": "WoBertModel",
        "MODEL_FOR_PRETRAINING_MAPPING": "WoBertForPreTraining",
        "MODEL_FOR_MASKED_LM_MAPPING": "WoBertForMaskedLM",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": "WoBertForSequenceClassification",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": ("WoBertForTokenClassification", "WoBertForCharacterClassification"),
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING": "WoBertForQuestionAnswering",
        "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "WoBertForMultipleChoice",
        "MODEL_FOR_TEXT_ENCODING_MAPPING": "WoBertModel",
    },
    "unilm": {"MODEL_FOR_CAUSAL_LM_MAPPING": "UniLmForSequenceToSequence"},
    "entities": {"MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": "EntityModel"},
    "linking": {"MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "LinkingModel"},
}


def register(attribute: Callable[[str], Any]) -> None:
    """Let ``AutoConfig``, ``AutoTokenizer``, the ``AutoModel`` family and ``pipeline`` resolve our folders.

    Takes effect now for the parts of transformers that are loaded, and on loading for the others. Folders of
    transformers' own model types are untouched, except those whose ``tokenizer_class`` is ``WoBertTokenizer``.

    Args:
        attribute: gives the class of a name, as ``nlpkit.__getattr__`` does.

    Raises:
        RuntimeError: transformers has a model type of that name of its own (raised when its tables load).

    Example:
        >>> from transformers import AutoConfig
        >>> AutoConfig.for_model("wobert", vocab_size=33586).__class__.__name__
        'WoBertConfig'
    """
    for model_type in CONFIGS:
        alias_module(f"transformers.models.{model_type}", attribute)
    after_import("transformers.models.auto.configuration_auto", _register_config)
    after_import("transformers.models.auto.tokenization_auto", _register_tokenizer)
    after_import("transformers.models.auto.modeling_auto", _register_models)
    after_import("peft.mapping", _register_ladders_with_peft)


def _register_config(configuration_auto: ModuleType) -> None:
    for model_type, config in CONFIGS.items():
        known = configuration_auto.CONFIG_MAPPING_NAMES.setdefault(model_type, config)
        if known != config:
            raise RuntimeError(
                f"transformers has a model type {model_type!r} of its own ({known}): this nlpkit is too old for it; "
                "upgrade nlpkit, or install the transformers that its constraints.txt names"
            )
    open_first(configuration_auto.AutoConfig, _open_config)


def _register_tokenizer(tokenization_auto: ModuleType) -> None:
    register_names(tokenization_auto.TOKENIZER_MAPPING, MODEL_TYPE, CONFIGS[MODEL_TYPE], TOKENIZER)
    open_first(tokenization_auto.AutoTokenizer, _open_tokenizer)


def _register_models(modeling_auto: ModuleType) -> None:
    for model_type, classes in MODELS.items():
        for table, class_name in classes.items():
            register_names(getattr(modeling_auto, table), model_type, CONFIGS[model_type], class_name)
    for name, value in vars(modeling_auto).items():
        if isinstance(value, type) and name.startswith("AutoModel") and hasattr(value, "_model_mapping"):
            open_first(value, _open_model)


def _open_model(own: Callable[..., Any], auto_class: type, source: Any, *args: Any, **options: Any) -> Any:
    """A ladder, or what the Auto class gives."""
    if not _is_ladder_here(source, options):
        try:
            return own(source, *args, **options)
        except (OSError, KeyError, ValueError):
            if not _is_ladder_on_the_hub(source, options):
                raise
    from nlpkit.ladder_side_tuning.opening import open_ladder

    return open_ladder(auto_class, source, **options)


def _open_config(own: Callable[..., Any], auto_class: type, source: Any, *args: Any, **options: Any) -> Any:
    """The configuration of a ladder's backbone, or what ``AutoConfig`` gives."""
    if not _is_ladder_here(source, options) or _has(source, options, "config.json"):
        return own(source, *args, **options)
    from nlpkit.ladder_side_tuning.opening import config_of_ladder

    returns_unused = options.pop("return_unused_kwargs", False)
    config, unused = config_of_ladder(source, **options)
    return (config, unused) if returns_unused else config


def _open_tokenizer(own: Callable[..., Any], auto_class: type, source: Any, *args: Any, **options: Any) -> Any:
    """The tokenizer in a ladder's folder or, where there is none, its backbone's; or what ``AutoTokenizer`` gives."""
    if _is_ladder_here(source, options) and not _has(source, options, "tokenizer_config.json"):
        from nlpkit.ladder_side_tuning.opening import home_of_ladder

        source = home_of_ladder(source, **options)
    return own(source, *args, **options)


def _has(source: Any, options: dict[str, Any], name: str) -> bool:
    return Path(source, options.get("subfolder") or "", name).is_file()


def _is_ladder_here(source: Any, options: dict[str, Any]) -> bool:
    """Whether a folder holds a ladder, and not a whole model."""
    if not isinstance(source, str | Path) or not _has(source, options, "adapter_config.json"):
        return False
    try:
        settings = json.loads(Path(source, options.get("subfolder") or "", "adapter_config.json").read_text("utf-8"))
    except ValueError:
        return False  # to be complained of by whoever reads it
    return isinstance(settings, dict) and settings.get("peft_type") == LADDER_TYPE


def _is_ladder_on_the_hub(source: Any, options: dict[str, Any]) -> bool:
    from nlpkit.ladder_side_tuning.opening import is_ladder

    where = ("revision", "subfolder", "cache_dir", "token", "local_files_only")
    return isinstance(source, str) and is_ladder(
        source, **{name: options[name] for name in where if options.get(name) is not None}
    )


class _LadderForPeft:
    """Stands where PEFT looks up the configuration of a ladder, to say what opens it."""

    def __init__(self, **settings: Any) -> None:
        raise ValueError(
            "this is a ladder of nlpkit and no adapter of PEFT's: open it with "
            "nlpkit.LadderModel.from_pretrained(backbone, folder), or with an AutoModelFor... class. If the folder "
            "also holds a whole model, move adapter_config.json and adapter_model.safetensors to a folder of their own"
        )

    @classmethod
    def from_pretrained(cls, *args: Any, **options: Any) -> Any:
        """Refuses."""
        return cls()


def _register_ladders_with_peft(mapping: ModuleType) -> None:
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[LADDER_TYPE] = _LadderForPeft
