"""Configuration of UniLM models: a BERT that reads a source and writes a target."""

from __future__ import annotations

from typing import Any

from nlpkit.wobert.configuration import WoBertConfig


class UniLmConfig(WoBertConfig):
    """BERT's configuration under a model type of its own, so that Auto classes find the model that generates.

    Source: UniLM (arXiv 1905.03197).

    Args:
        unk_token_id: and the next: tokens that are never written, as ``bos_token_id`` (``[CLS]``) and
            ``pad_token_id`` are not; ``eos_token_id`` (``[SEP]``) ends a text. ``UniLmForSequenceToSequence`` reads
            them from the tokenizer beside the weights of a plain BERT or WoBERT.
        mask_token_id: likewise.

    Note:
        ``sparse_prediction`` of ``WoBertConfig`` is always off: ``nlpkit.losses.ChunkedCrossEntropyLoss`` spares the
        logits of the source.

    Example:
        >>> config = UniLmConfig(vocab_size=33586)
        >>> config.model_type, config.is_decoder
        ('unilm', True)
    """

    model_type = "unilm"
    is_decoder: bool = True
    unk_token_id: int | None = None
    mask_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Whatever the configuration of an encoder says that becomes one."""
        super().__post_init__(**kwargs)
        self.is_decoder, self.sparse_prediction = True, False

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings of a folder or repository; a BERT's and a WoBERT's are as good as a UniLM's own."""
        settings, rest = super().get_config_dict(*args, **kwargs)
        if settings.get("model_type") in ("bert", "wobert"):
            settings["model_type"] = cls.model_type
        return settings, rest
