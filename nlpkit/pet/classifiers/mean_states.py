"""A text encoder from any model: the mean of its last hidden states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.masked import masked_mean
from nlpkit.modes import evaluating
from nlpkit.pet.classifiers.encoding import encode_texts
from nlpkit.pet.head_check import refuse_padding_in_states
from nlpkit.pet.saving import load_in_fp32, split_settings
from nlpkit.pretrained import open_tokenizer
from nlpkit.probes.room import checked_length
from nlpkit.sources import find_model

#: Texts to vectors ``(texts, dimension)``.
TextEncoder = Callable[[list[str]], Tensor]


class MeanStates:
    """Texts to the means of a model's last hidden states.

    Args:
        model: should not be the one that is trained, because similarities would drift.
        tokenizer: its tokenizer.
        max_length: tokens; as many as there is room for, at most.

    Raises:
        ValueError: its states of a text depend on the padding behind it.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> None:
        refuse_padding_in_states(cast(PreTrainedModel, model.base_model), tokenizer)
        self.model, self.tokenizer = model, tokenizer
        self.max_length = min(max_length, checked_length(None, model, tokenizer))

    def __call__(self, texts: list[str]) -> Tensor:
        """Vectors, ``(texts, hidden)``."""
        inputs = encode_texts(self.tokenizer, [[text] for text in texts], self.max_length)
        inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        with torch.inference_mode(), evaluating(self.model):
            states = self.model.base_model(**inputs).last_hidden_state  # (texts, length, hidden)
        return masked_mean(states, inputs["attention_mask"])

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Save model and tokenizer."""
        self.model.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, max_length: int = 128, **settings: Any
    ) -> Self:
        """Load an encoder with its tokenizer.

        Args:
            pretrained_model_name_or_path: a folder, the name of a shipped model, or a repository on the Hub.
            max_length: as for the class.
            **settings: ``revision``, ``dtype`` and so on, as for any model of transformers.

        Raises:
            FileNotFoundError: there is no such model.
        """
        _, hub, of_model = split_settings(settings)
        source = find_model(pretrained_model_name_or_path, **hub)
        model = load_in_fp32(AutoModel, source, hub, **of_model)
        return cls(model, open_tokenizer(source, **hub), max_length)


def mean_states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> MeanStates:
    """A text encoder from any model: the mean of its last hidden states; see ``MeanStates``."""
    return MeanStates(model, tokenizer, max_length)
