"""What a model is given in place of its labels makes the logits that it would have made of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training.task_loss.model_inputs import model_inputs

SIZES: dict[str, Any] = {
    "vocab_size": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["M2M100", "Blenderbot", "BlenderbotSmall", "Bart", "MBart", "Pegasus", "Marian", "PLBart", "LED", "NllbMoe"],
)
def test_decoders_read_the_shifted_labels(name: str) -> None:
    cls = getattr(transformers, f"{name}ForConditionalGeneration", None) or getattr(transformers, f"{name}MTModel")
    settings = {"attention_window": 4} if name == "LED" else {"num_experts": 2} if name == "NllbMoe" else {}
    torch.manual_seed(0)
    model = cls(cls.config_class(**SIZES, **settings, decoder_start_token_id=2, pad_token_id=1)).eval()
    batch = {"input_ids": torch.randint(4, 40, (2, 8)), "labels": torch.randint(4, 40, (2, 6))}
    batch["labels"][1, 4:] = -100
    with torch.no_grad():
        expected = model(**batch).logits
        inputs = model_inputs(model, batch, CrossEntropyLoss())
        found = model(**inputs).logits
    assert "labels" not in inputs
    counted = batch["labels"] != -100
    torch.testing.assert_close(found[counted], expected[counted])
