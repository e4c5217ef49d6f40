"""What ``generate`` of transformers has to know of UniLM: segments, special tokens, and what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, PreTrainedTokenizerBase
from transformers.generation import GenerationMode

from nlpkit.probes.room import room_for_tokens
from nlpkit.seq2seq.model_inputs import prompts, refuse_beyond

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    class _Model(PreTrainedModel, GenerationMixin):
        pass
else:
    _Model = GenerationMixin


class PrefixGeneration(_Model):
    """Mixin for ``PrefixLanguageModel``: what is written has segment 1, and is no special token but the end."""

    # Checked on transformers 5.23.0: `generate` asks these methods in the order in which they stand here, the last
    # one after each step. It finds positions under padding by itself, since `forward` names `position_ids`.

    def use_tokens_of(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Learn from a tokenizer which token ends a text, and which ones are never written.

        Args:
            tokenizer: that of the encoder.

        Raises:
            ValueError: it lacks a token for the beginning, the end or padding, or has more tokens than the model rows.

        Example:
            >>> from nlpkit import WoBertTokenizer
            >>> from nlpkit.seq2seq import UniLmConfig, UniLmForSequenceToSequence
            >>> model = UniLmForSequenceToSequence(UniLmConfig(
            ...     vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
            >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "好"]
            >>> model.use_tokens_of(WoBertTokenizer({word: number for number, word in enumerate(words)}))
            >>> model.generation_config.eos_token_id, model.generation_config.suppress_tokens
            (3, [0, 1, 2, 4])
        """
        rows = len(self.get_input_embeddings().weight)  # type: ignore[arg-type]
        if len(tokenizer) > rows:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the model rows for {rows}: give the model's own "
                f"tokenizer, or make room: model.resize_token_embeddings({len(tokenizer)})"
            )
        lacking = [name for name in ("cls_token", "sep_token", "pad_token") if getattr(tokenizer, name) is None]
        if lacking:
            raise ValueError(
                f"the tokenizer has no {' and no '.join(lacking)}, by which source, target and padding are told "
                "apart; give the tokenizer of a BERT"
            )
        ids = {
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.cls_token_id,
            "eos_token_id": tokenizer.sep_token_id,
        }
        others = {"unk_token_id": tokenizer.unk_token_id, "mask_token_id": tokenizer.mask_token_id}
        for name, number in (ids | others).items():
            setattr(self.config, name, number)
        self.generation_config.update(**ids)
        self._forbid_special_tokens()

    def _forbid_special_tokens(self) -> None:
        config = self.config
        names = ("pad_token_id", "unk_token_id", "bos_token_id", "mask_token_id")
        known = {number for name in names if (number := getattr(config, name, None)) is not None}
        if config.eos_token_id is not None and len(known) == len(names):
            self.generation_config.suppress_tokens = sorted(known)

    def _validate_generation_mode(
        self, generation_mode: GenerationMode, generation_config: GenerationConfig, generation_mode_kwargs: Any
    ) -> None:
        """Refuse what would be wrong before anything is computed."""
        if generation_config.eos_token_id is None or generation_config.suppress_tokens is None:
            raise ValueError(
                f"{type(self).__name__} does not know which token ends a text, or which must not be written: call "
                "model.use_tokens_of(tokenizer); or give eos_token_id= and suppress_tokens=[...]"
            )
        if generation_mode == GenerationMode.ASSISTED_GENERATION:
            raise ValueError(
                "candidates of an assistant, or looked up in the prompt, would be read as part of the source: leave "
                "assistant_model and prompt_lookup_num_tokens out"
            )
        if generation_config.prefill_chunk_size is not None:
            raise ValueError(
                f"prefill_chunk_size={generation_config.prefill_chunk_size} would read the source in parts, and it is "
                "read both ways: leave it out"
            )
        super()._validate_generation_mode(  # type: ignore[misc]
            generation_mode, generation_config, generation_mode_kwargs
        )

    def _prepare_model_inputs(
        self, inputs: Tensor | None, bos_token_id: Tensor | None, model_kwargs: dict[str, Any]
    ) -> tuple[Tensor, str | None, dict[str, Any]]:
        """Give all tokens a segment; of a batch with labels, as evaluation has it, take the sources."""
        inputs, name, model_kwargs = super()._prepare_model_inputs(  # type: ignore[misc]
            inputs, bos_token_id, model_kwargs
        )
        segments, mask = model_kwargs.get("token_type_ids"), model_kwargs.get("attention_mask")
        if segments is None:
            segments = torch.zeros(inputs.shape[:2], dtype=torch.long, device=inputs.device)
        labels = model_kwargs.pop("labels", None)
        if labels is not None and name == "input_ids" and segments.any():
            inputs, mask = prompts(inputs, mask, segments, self.generation_config.pad_token_id)
            segments = torch.zeros_like(inputs)
            model_kwargs.pop("position_ids", None)
            model_kwargs["attention_mask"] = mask
        if mask is not None and mask.dim() == 2 and (mask[:, -1] == 0).any():
            raise ValueError(
                "attention_mask ends with padding, behind which a target would be written: pad sources on the left, "
                "tokenizer(sources, padding=True, padding_side='left')"
            )
        model_kwargs["token_type_ids"] = segments
        return inputs, name, model_kwargs

    def _validate_generated_length(
        self, generation_config: GenerationConfig, input_ids_length: int, has_default_max_length: bool
    ) -> None:
        """Refuse what the positions have no room for."""
        refuse_beyond(room_for_tokens(self), input_ids_length, generation_config.max_length)
        super()._validate_generated_length(  # type: ignore[misc]
            generation_config, input_ids_length, has_default_max_length
        )

    def _prepare_cache_for_generation(
        self,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        generation_mode: GenerationMode,
        batch_size: int,
        max_cache_length: int,
    ) -> Any:
        """The same where the source is given as embeddings, whose length is not known before."""
        refuse_beyond(room_for_tokens(self), model_kwargs["token_type_ids"].shape[1], max_cache_length + 1)
        return super()._prepare_cache_for_generation(  # type: ignore[misc]
            generation_config, model_kwargs, generation_mode, batch_size, max_cache_length
        )

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], is_encoder_decoder: bool = False, num_new_tokens: int = 1
    ) -> dict[str, Any]:
        """What was written is of the target."""
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, is_encoder_decoder, num_new_tokens
        )
        updated["token_type_ids"] = updated["token_type_ids"].clone()
        updated["token_type_ids"][:, -num_new_tokens:] = 1
        return updated
