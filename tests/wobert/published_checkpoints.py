"""Tiny checkpoints in the forms in which people publish them, whole and spoilt."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, PreTrainedModel, RoFormerConfig

from nlpkit.wobert.conversion.conversion import convert_checkpoint

FIXTURES = Path(__file__).parent / "fixtures"  # TensorFlow 2.21 wrote the checkpoints, and what is expected of them
needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is not installed: pip install '.[convert]'"
)
VOCABULARY = (FIXTURES / "tf_bert_tiny" / "vocab.txt").read_text("utf-8").split()
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "initializer_range": 0.5,  # so that no two tensors could be exchanged without changing the logits
}
INPUTS = {
    "input_ids": torch.tensor([[2, 16, 17, 4, 19, 3, 9, 12, 22, 3], [2, 20, 4, 22, 3, 0, 0, 0, 0, 0]]),
    "token_type_ids": torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1, 1, 1], [0] * 10]),
    "attention_mask": torch.tensor([[1] * 10, [1] * 5 + [0] * 5]),
}


def tiny(model_class: type[PreTrainedModel], **settings: Any) -> PreTrainedModel:
    """A random model whose every tensor, norms and biases too, differs from every other."""
    torch.manual_seed(0)
    config_class = RoFormerConfig if "RoFormer" in model_class.__name__ else BertConfig
    model = model_class(config_class(**{**SIZES, **settings}))
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def published(model: PreTrainedModel, folder: Path) -> Path:
    """A folder as people publish them: configuration, safetensors, vocabulary."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    return folder


def edit_json(path: Path, **settings: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | settings), "utf-8")


def edit_weights(folder: Path, edit: Any) -> None:
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return model.eval()(**INPUTS).logits  # (batch, length, vocabulary)


def as_pytorch_file(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_shards(folder: Path) -> None:
    model = BertForPreTraining.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="2KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def with_stored_ties(folder: Path) -> None:
    edit_weights(
        folder,
        lambda tensors: (
            tensors
            | {
                "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
                "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
            }
        ),
    )


def refused(source: Path, out: Path, error: type[Exception], message: str, **options: Any) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(error, match=message):
        convert_checkpoint(source, out, **options)
    assert sorted(out.parent.rglob("*")) == before
