"""Settings of a model that reads texts beside descriptions of entities."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


class LinkingConfig(PreTrainedConfig):
    """Configuration of ``LinkingModel``.

    Args:
        encoder: the configuration of any encoder of transformers; a BERT's by default.
        head_dropout: share of states that is dropped before the head.

    Example:
        >>> LinkingConfig().encoder.model_type
        'bert'
    """

    model_type = "linking"
    sub_configs_defaults = {"encoder": SubConfigSpec(config_class=AutoConfig, model_type="bert")}  # noqa: RUF012

    encoder: PreTrainedConfig | dict[str, Any] | None = None
    head_dropout: float = 0.1
