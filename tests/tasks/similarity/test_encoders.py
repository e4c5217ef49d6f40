"""Encoders of any model: pooled as asked, in fp32, and trained by sentence-transformers' own Trainer."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModel,
    FNetConfig,
    FNetModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from nlpkit import WoBertTokenizer, model_path
from nlpkit.losses import FlatNCELoss
from nlpkit.pet import mean_states
from nlpkit.tasks.similarity import (
    TextPair,
    entailment_rows,
    likeness_rows,
    sentence_encoder,
    simcse_loss,
    text_rows,
)
from nlpkit.training.dropout import set_dropout

st = pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")

TEXTS = ["酒店的服务很好", "今天天气不错", "手机屏幕碎了怎么办", "怎样学好英语", "苹果多少钱一斤", "如何申请护照"]
LIKE = [TextPair(one, other, str(place % 3)) for place, (one, other) in enumerate(pairwise(TEXTS))]


@pytest.fixture
def encoder() -> Any:
    return sentence_encoder("wobert-mini-zh", device="cpu")


def test_states_are_pooled_without_padding() -> None:
    from transformers import AutoTokenizer

    both = sentence_encoder("wobert-mini-zh", ["cls", "mean"], device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(model_path("wobert-mini-zh"))
    model = AutoModel.from_pretrained(model_path("wobert-mini-zh"), add_pooling_layer=False).eval()
    found = both.encode(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(row, torch.cat([states[0], states.mean(dim=0)]), atol=1e-4)


def test_what_was_saved_is_read_and_weights_are_fp32(encoder: Any, tmp_path: Path) -> None:
    wanted = encoder.encode(TEXTS)
    encoder.half().save_pretrained(str(tmp_path))
    again = sentence_encoder(tmp_path, "cls", max_length=16, device="cpu")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32} and again.max_seq_length == 16
    np.testing.assert_allclose(again.encode(TEXTS), wanted, atol=2e-2)
    assert not any(parameter.requires_grad for name, parameter in encoder.named_parameters() if "pooler" in name)


def test_a_prompt_goes_before_every_text(encoder: Any) -> None:
    prompted = sentence_encoder("wobert-mini-zh", prompt="查询：", device="cpu")
    wanted = encoder.encode([f"查询：{text}" for text in TEXTS])
    np.testing.assert_allclose(prompted.encode(TEXTS), wanted, atol=1e-6)


def test_no_model_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder \./none"):
        sentence_encoder("./none")


@pytest.mark.parametrize("method", ["unsupervised", "flat", "supervised", "cosent"])
def test_its_trainer_lowers_the_loss(encoder: Any, method: str, tmp_path: Path) -> None:
    said = [
        TextPair(one, other, label)
        for one, two, three in zip(TEXTS, TEXTS[1:], TEXTS[2:], strict=False)
        for other, label in ((two, "entailment"), (three, "contradiction"), (one, "neutral"))
    ]
    rows, loss = {
        "unsupervised": (text_rows(TEXTS), simcse_loss(encoder)),
        "flat": (text_rows(TEXTS), simcse_loss(encoder, FlatNCELoss(), mini_batch_size=3)),
        "supervised": (entailment_rows(said), simcse_loss(encoder, needs_dropout=False)),
        "cosent": (likeness_rows(LIKE), st.sentence_transformer.losses.CoSENTLoss(encoder)),
    }[method]
    arguments = st.SentenceTransformerTrainingArguments(
        str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=6,
        learning_rate=3e-4,
        logging_steps=1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = st.SentenceTransformerTrainer(encoder, arguments, train_dataset=rows, loss=loss)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_a_model_without_dropout_is_refused(encoder: Any) -> None:
    set_dropout(encoder, 0.0)
    with pytest.raises(ValueError, match=r"Transformer has no dropout above 0, without which both passes"):
        simcse_loss(encoder)
    assert simcse_loss(encoder, needs_dropout=False)


def test_rows_that_teach_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 different texts: SimCSE takes the others of a batch"):
        text_rows(["天冷", "天冷", " "])
    with pytest.raises(ValueError, match=r"pair 0, counted from 0, is labelled '1'; it must be entailment"):
        entailment_rows([TextPair("一", "二", "1")])
    with pytest.raises(ValueError, match=r"none of 1 premises has both"):
        entailment_rows([TextPair("一", "二", "entailment")])
    with pytest.raises(ValueError, match=r"all 1 pairs have the same likeness"):
        likeness_rows(LIKE[:1])
    with pytest.raises(ValueError, match=r"has the label 'x', which is no number"):
        likeness_rows([TextPair("一", "二", "x")])


def test_premises_give_a_row_for_each_two() -> None:
    said = [TextPair("甲", other, label) for other, label in (("乙", "entailment"), ("丙", "contradiction"))]
    rows = entailment_rows([*said, TextPair("甲", "丁", "entailment"), TextPair("甲", "戊", "neutral")])
    assert rows[:] == {"anchor": ["甲"], "positive": ["乙"], "negative": ["丙"]}


def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_that_reads_padding_is_refused(
    pooling: Any, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    """The embedding of a text would depend on the other texts of a batch."""
    torch.manual_seed(0)
    config = FNetConfig(vocab_size=len(small_vocabulary), hidden_size=16, num_hidden_layers=1, intermediate_size=32)
    folder = saved(FNetModel(config), WoBertTokenizer(small_vocabulary), tmp_path)
    with pytest.raises(ValueError, match="FNetModel reads the padding behind a text"):
        sentence_encoder(folder, pooling, device="cpu")
    with pytest.raises(ValueError, match="FNetModel reads the padding behind a text"):
        mean_states(AutoModel.from_pretrained(folder), WoBertTokenizer(small_vocabulary))


@pytest.mark.parametrize("kind", [(GPT2Config, GPT2Model), (LlamaConfig, LlamaModel)])
def test_the_first_state_of_a_causal_model_says_nothing(
    kind: Any, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = kind[0](vocab_size=len(small_vocabulary), pad_token_id=0, **sizes)
    words = Tokenizer(WordLevel(small_vocabulary, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    folder = saved(kind[1](config), tokenizer, tmp_path)
    for pooling in ("cls", ["mean", "cls"]):
        with pytest.raises(ValueError, match=f"the first state of {kind[1].__name__} sees nothing of what follows"):
            sentence_encoder(folder, pooling, device="cpu")
    one, other = sentence_encoder(folder, device="cpu").encode(["酒店", "天气"])
    assert not np.allclose(one, other, atol=1e-4)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=rf"{tmp_path} holds no config.json; give the folder of a transformers"
    ):
        sentence_encoder(tmp_path)
