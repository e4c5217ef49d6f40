"""Architectures that clozes cannot ask are refused when a classifier is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    ConvBertConfig,
    ConvBertForMaskedLM,
    ConvBertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    FNetConfig,
    FNetForMaskedLM,
    FNetForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    MobileBertConfig,
    MobileBertForMaskedLM,
    PreTrainedModel,
    ReformerConfig,
    ReformerForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
    Trainer,
    TrainingArguments,
    YosoConfig,
    YosoForMaskedLM,
    YosoForSequenceClassification,
)

from nlpkit.pet import ChoiceClassifier, HeadClassifier, PetClassifier

WORDS = {"a": "很", "b": "不"}


def asked(model: PreTrainedModel, vocabulary: dict[str, int]) -> PetClassifier:
    return PetClassifier(model, BertTokenizer(vocab=vocabulary), "{mask}{text}", WORDS)


def config(kind: type, vocabulary: dict[str, int], **changes: Any) -> Any:
    small = {
        "vocab_size": len(vocabulary), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "max_position_embeddings": 40, "pad_token_id": 0,
    }  # fmt: skip
    return kind(**small | changes)


def test_models_whose_head_is_another_are_refused(small_vocabulary: dict[str, int]) -> None:
    made = config(MobileBertConfig, small_vocabulary, embedding_size=8, intra_bottleneck_size=16)
    with pytest.raises(ValueError, match=r"MobileBertForMaskedLM cannot be asked at a mask \(.*\); use a masked LM"):
        asked(MobileBertForMaskedLM(made), small_vocabulary)


def test_causal_models_are_refused(small_vocabulary: dict[str, int]) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(small_vocabulary), n_embd=8, n_layer=2, n_head=2))
    with pytest.raises(ValueError, match="does not depend on what follows, as in causal models; use a masked LM"):
        asked(model, small_vocabulary)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_model_that_reads_neither_side_is_not_called_causal(value: float, small_vocabulary: dict[str, int]) -> None:
    model = RobertaForMaskedLM(config(RobertaConfig, small_vocabulary))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    assert asked(model, small_vocabulary).predict_proba(["很好"]).tolist() == [[0.5, 0.5]]


def test_logits_that_are_changed_behind_the_output_layer_are_refused(small_vocabulary: dict[str, int]) -> None:
    class Scaled(RobertaForMaskedLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            return type(output)(logits=output.logits * 3)

    with pytest.raises(ValueError, match="are not what its output layer makes of the states that it is handed"):
        asked(Scaled(config(RobertaConfig, small_vocabulary)), small_vocabulary)


@pytest.mark.parametrize(
    "make",
    [
        lambda vocabulary: RobertaForMaskedLM(config(RobertaConfig, vocabulary)),
        lambda vocabulary: ElectraForMaskedLM(config(ElectraConfig, vocabulary)),
        lambda vocabulary: DistilBertForMaskedLM(
            DistilBertConfig(vocab_size=len(vocabulary), dim=16, n_layers=1, n_heads=2, hidden_dim=8)
        ),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_masked_models_are_taken_and_stay_in_their_mode(
    make: Any, training: bool, small_vocabulary: dict[str, int]
) -> None:
    model = make(small_vocabulary).train(training)
    classifier = asked(model, small_vocabulary)
    assert [module.training for module in model.modules()] == [training] * len(list(model.modules()))
    text = "今天" * 300  # to the last position
    with pytest.warns(UserWarning, match="is longer than max_length="):
        assert torch.isfinite(classifier.scores([text])).all()


def test_roberta_has_room_for_two_tokens_less_than_positions(small_vocabulary: dict[str, int]) -> None:
    model = RobertaForMaskedLM(config(RobertaConfig, small_vocabulary, max_position_embeddings=30, pad_token_id=1))
    assert asked(model, small_vocabulary).max_length == 28


def test_models_whose_weights_are_no_numbers_are_refused(small_vocabulary: dict[str, int]) -> None:
    model = RobertaForMaskedLM(config(RobertaConfig, small_vocabulary))
    with torch.no_grad():
        model.lm_head.bias[:] = float("nan")
    with pytest.raises(ValueError, match="RobertaForMaskedLM predicts NaN at a mask: its weights are broken"):
        asked(model, small_vocabulary)


def test_a_sentinel_classifier_wants_a_decoder(tmp_path: Path) -> None:
    from nlpkit.pet import SentinelClassifier
    from tests.pet.classifiers.test_sentinels import tokenizer_of_characters

    tokenizer = tokenizer_of_characters()
    model = RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1,
                                             num_attention_heads=2, intermediate_size=8))  # fmt: skip
    with pytest.raises(ValueError, match="RobertaForMaskedLM has no decoder; use a T5 or mT5, or PetClassifier"):
        SentinelClassifier(model, tokenizer, "{mask}{text}", WORDS)


def test_a_decoder_that_begins_with_nothing_is_refused() -> None:
    from nlpkit.pet import SentinelClassifier
    from tests.pet.classifiers.test_sentinels import tokenizer_of_characters

    tokenizer = tokenizer_of_characters()
    settings = T5Config(vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2,
                        pad_token_id=0, eos_token_id=1, num_labels=2)  # fmt: skip
    message = "T5For.* has no decoder_start_token_id, with which its decoder begins; set the one that it was trained"
    with pytest.raises(ValueError, match=message):
        HeadClassifier(T5ForSequenceClassification(settings), tokenizer, ["a", "b"])
    with pytest.raises(ValueError, match=message):
        SentinelClassifier(T5ForConditionalGeneration(settings), tokenizer, "{mask}{text}", WORDS)
    settings.decoder_start_token_id = 0
    assert len(HeadClassifier(T5ForSequenceClassification(settings), tokenizer, ["a", "b"]).predict(["很好"])) == 1


@pytest.mark.parametrize(
    ("make", "masked", "head"),
    [
        (ConvBertConfig, ConvBertForMaskedLM, ConvBertForSequenceClassification),
        (FNetConfig, FNetForMaskedLM, FNetForSequenceClassification),
        (YosoConfig, YosoForMaskedLM, YosoForSequenceClassification),
    ],
)
def test_models_that_read_padding_are_refused(
    make: type, masked: Any, head: Any, small_vocabulary: dict[str, int]
) -> None:
    settings, tokenizer = config(make, small_vocabulary), BertTokenizer(vocab=small_vocabulary)
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=f"{masked.__name__} reads the padding behind a text"):
        asked(masked(settings), small_vocabulary)
    with pytest.raises(ValueError, match=f"{head.__name__} reads the padding behind a text"):
        HeadClassifier(head(settings), tokenizer, ["a", "b"])
    settings.num_labels = 1
    with pytest.raises(ValueError, match=f"{head.__name__} reads the padding behind a text"):
        ChoiceClassifier(head(settings), tokenizer, "{text}", WORDS)


def test_a_model_that_reads_much_padding_alone_is_refused(small_vocabulary: dict[str, int]) -> None:
    sizes = {"attention_head_size": 8, "feed_forward_size": 16, "hidden_size": 16, "num_attention_heads": 2}
    settings = ReformerConfig(
        **sizes, vocab_size=len(small_vocabulary), attn_layers=["local", "local"], local_attn_chunk_length=8,
        axial_pos_embds=False, max_position_embeddings=128, is_decoder=False, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="ReformerForMaskedLM reads the padding behind a text"):
        asked(ReformerForMaskedLM(settings), small_vocabulary)


def test_a_model_that_a_trainer_keeps_in_bf16_is_taken(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    """Its weights are fp32, but its answers are rounded as bf16's are."""
    tokenizer = BertTokenizer(vocab=small_vocabulary)
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(small_vocabulary), num_labels=52, initializer_range=0.1, **sizes)
    )
    rows = [{**tokenizer("很好"), "labels": 0}] * 2
    settings = TrainingArguments(
        str(tmp_path), max_steps=1, bf16=True, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True
    )
    Trainer(model, settings, train_dataset=rows, processing_class=tokenizer).train()
    assert model.dtype == torch.float32
    assert len(HeadClassifier(model, tokenizer, range(52)).predict(["很好"])) == 1
