"""Small models of every kind that a ladder stands beside, with weights far from their symmetric beginnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    CamembertConfig,
    CamembertModel,
    ElectraConfig,
    ElectraForTokenClassification,
    ErnieConfig,
    ErnieModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MBartConfig,
    MBartForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM, WoBertForSequenceClassification

Sizes = dict[str, Any]
BERT: Sizes = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
LLAMA: Sizes = {
    **BERT,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "pad_token_id": 0,
}
GPT2: Sizes = {
    "vocab_size": 40,
    "n_embd": 16,
    "n_layer": 4,
    "n_head": 2,
    "n_positions": 32,
    "eos_token_id": 2,
    "bos_token_id": 1,
}
T5: Sizes = {
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 3,
    "num_heads": 2,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}
BART: Sizes = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 32,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "pad_token_id": 0,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}

MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert-sequence": lambda: BertForSequenceClassification(BertConfig(**BERT, num_labels=3)),
    "bert-tokens": lambda: BertForTokenClassification(BertConfig(**BERT, num_labels=3)),
    "bert-qa": lambda: BertForQuestionAnswering(BertConfig(**BERT)),
    "bert-mlm": lambda: BertForMaskedLM(BertConfig(**BERT)),
    "bert-bare": lambda: BertModel(BertConfig(**BERT)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**{**BERT, "max_position_embeddings": 40})),
    "electra": lambda: ElectraForTokenClassification(ElectraConfig(**BERT, embedding_size=8)),
    "wobert-sequence": lambda: WoBertForSequenceClassification(WoBertConfig(**BERT, num_labels=3)),
    "wobert-mlm": lambda: WoBertForMaskedLM(WoBertConfig(**BERT, sparse_prediction=True)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**LLAMA)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**T5, feed_forward_proj="gated-gelu")),
    "bart": lambda: BartForConditionalGeneration(BartConfig(**BART)),
    "mbart": lambda: MBartForConditionalGeneration(MBartConfig(**BART)),
}
#: Close relatives, of which it is enough to know that a ladder can be the backbone.
RELATIVES: dict[str, Callable[[], PreTrainedModel]] = {
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**{**BERT, "max_position_embeddings": 40})),
    "camembert": lambda: CamembertModel(CamembertConfig(**{**BERT, "max_position_embeddings": 40})),
    "ernie": lambda: ErnieModel(ErnieConfig(**BERT)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=4)),
    "qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**{key: value for key, value in LLAMA.items() if key != "head_dim"})
    ),
    "pegasus": lambda: PegasusForConditionalGeneration(PegasusConfig(**BART)),
}
ENCODERS = [name for name in MAKERS if name.startswith(("bert", "roberta", "electra", "wobert"))]
DECODERS = ["gpt2", "llama", "qwen3"]
SEQ2SEQ = ["t5", "mt5", "bart", "mbart"]


def small_model(name: str) -> PreTrainedModel:
    """A seeded model in evaluation mode."""
    torch.manual_seed(11)
    model = (MAKERS | RELATIVES)[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def small_batch(model: PreTrainedModel) -> dict[str, Tensor]:
    """Two rows, one of them padded."""
    generator = torch.Generator().manual_seed(5)
    batch = {"input_ids": torch.randint(5, 40, (2, 7), generator=generator), "attention_mask": torch.ones(2, 7).long()}
    batch["input_ids"][1, 5:] = 0
    batch["attention_mask"][1, 5:] = 0
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = torch.randint(5, 40, (2, 4), generator=generator)
    return batch


def small_labels(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the model's loss is computed from."""
    name = type(model).__name__
    if "Sequence" in name:
        return {"labels": torch.tensor([0, 1])}
    if "QuestionAnswering" in name:
        return {"start_positions": torch.tensor([0, 1]), "end_positions": torch.tensor([2, 1])}
    if "Token" in name:
        return {"labels": batch["input_ids"] % 2}
    target = batch.get("decoder_input_ids", batch["input_ids"])
    return {} if name == "BertModel" else {"labels": target}


def answers(output: Any) -> Tensor:
    """The tensor that a task is answered with."""
    for name in ("logits", "start_logits", "last_hidden_state"):
        if name in output:
            found: Tensor = output[name]
            return found
    raise AssertionError(f"no answer among {list(output)}")


def set_gates(ladder: Any, alpha: float) -> None:
    """Give all gates the same value."""
    with torch.no_grad():
        for name, parameter in ladder.named_parameters():
            if name.endswith("side.alpha"):
                parameter.fill_(alpha)


def narrow(name: str, **settings: Any) -> Any:
    """A ladder with random side weights, so that nothing is right by being a copy."""
    torch.manual_seed(1)
    reduction = 4 if name in ENCODERS else 2
    return get_ladder_model(small_model(name), LadderConfig(**{"reduction": reduction, "init": "random", **settings}))
