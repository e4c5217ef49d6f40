"""The only global registrations: transformers' Auto classes and pipelines find nlpkit's classes by their names.

Nothing is imported here. transformers resolves the names of its own models on first use, in the module
``transformers.models.<model type>``; ours stand in the same tables, and that module is an alias of ``nlpkit``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from nlpkit.compat import after_import, alias_module, register_names

MODEL_TYPE = "wobert"
CONFIG = "WoBertConfig"
TOKENIZER = "WoBertTokenizer"

#: Which class serves which Auto class, by the name of transformers' table.
MODELS = {
    "MODEL_MAPPING": "WoBertModel",
    "MODEL_FOR_PRETRAINING_MAPPING": "WoBertForPreTraining",
    "MODEL_FOR_MASKED_LM_MAPPING": "WoBertForMaskedLM",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": "WoBertForSequenceClassification",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": "WoBertForTokenClassification",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING": "WoBertForQuestionAnswering",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "WoBertForMultipleChoice",
    "MODEL_FOR_TEXT_ENCODING_MAPPING": "WoBertModel",
}


def register(attribute: Callable[[str], Any]) -> None:
    """Let ``AutoConfig``, ``AutoTokenizer``, the ``AutoModel`` family and ``pipeline`` resolve WoBERT folders.

    Takes effect now for the parts of transformers that are loaded, and on loading for the others. Folders of
    transformers' own model types are untouched, except those whose ``tokenizer_class`` is ``WoBertTokenizer``.

    Args:
        attribute: gives the class of a name, as ``nlpkit.__getattr__`` does.

    Raises:
        RuntimeError: transformers has a model type ``wobert`` of its own (raised when its tables load).

    Example:
        >>> from transformers import AutoConfig
        >>> AutoConfig.for_model("wobert", vocab_size=33586).__class__.__name__
        'WoBertConfig'
    """
    alias_module(f"transformers.models.{MODEL_TYPE}", attribute)
    after_import("transformers.models.auto.configuration_auto", _register_config)
    after_import("transformers.models.auto.tokenization_auto", _register_tokenizer)
    after_import("transformers.models.auto.modeling_auto", _register_models)


def _register_config(configuration_auto: ModuleType) -> None:
    known = configuration_auto.CONFIG_MAPPING_NAMES.setdefault(MODEL_TYPE, CONFIG)
    if known != CONFIG:
        raise RuntimeError(
            f"transformers has a model type {MODEL_TYPE!r} of its own ({known}): this nlpkit is too old for it; "
            "upgrade nlpkit, or install transformers>=5.20,<6 as pinned in its constraints.txt"
        )


def _register_tokenizer(tokenization_auto: ModuleType) -> None:
    register_names(tokenization_auto.TOKENIZER_MAPPING, MODEL_TYPE, CONFIG, TOKENIZER)


def _register_models(modeling_auto: ModuleType) -> None:
    for table, class_name in MODELS.items():
        register_names(getattr(modeling_auto, table), MODEL_TYPE, CONFIG, class_name)
