"""Probabilities of ZLPR from a stock pipeline over a folder that knows nothing of nlpkit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline

from nlpkit.losses import ZLPRLoss, class_priors, fold_priors, fold_zlpr, zlpr_probabilities
from tests.contract.cases import small_config
from tests.contract.stock_heads import stock

TEXT = "b c d b"


def bert(**settings: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**small_config(**settings))).eval()
    nn.init.normal_(model.classifier.weight, std=2.0)
    nn.init.normal_(model.classifier.bias)
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "b": 2, "c": 3, "d": 4}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")


@pytest.mark.parametrize("learned", [False, True])
def test_a_stock_pipeline_gives_the_probabilities(learned: bool, tmp_path: Path) -> None:
    model, loss = bert(), ZLPRLoss(gamma=1.5, threshold="learned") if learned else ZLPRLoss()
    if learned:
        nn.init.constant_(loss.threshold, 0.3)
    ids = tokenizer()(TEXT, return_tensors="pt")
    with torch.no_grad():
        expected = zlpr_probabilities(model(**ids).logits[0], gamma=loss.gamma, threshold=loss.threshold).tolist()
    fold_zlpr(model, loss)
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    found = pipeline("text-classification", str(tmp_path), top_k=None)([TEXT])[0]
    by_label = {answer["label"]: answer["score"] for answer in found}
    assert by_label == pytest.approx({f"LABEL_{n}": score for n, score in enumerate(expected)}, abs=1e-6)


def test_without_other_settings_the_logits_are_doubled_to_the_bit() -> None:
    model, ids = bert().double(), torch.tensor([[2, 3, 4]])
    with torch.no_grad():
        before = model(ids).logits
        fold_zlpr(model)
        assert torch.equal(model(ids).logits, 2 * before)


_DISTILBERT = {"vocab_size": 40, "dim": 16, "n_layers": 1, "n_heads": 2, "num_labels": 5}
_GPT2 = {"vocab_size": 40, "n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": 5, "pad_token_id": 0}
_DECODER = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 5}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("RobertaForSequenceClassification", small_config()),
        ("DistilBertForSequenceClassification", _DISTILBERT),
        ("ModernBertForSequenceClassification", {**_DECODER, "pad_token_id": 0}),
        ("LlamaForSequenceClassification", {**_DECODER, "pad_token_id": 0}),
        ("GPT2ForSequenceClassification", _GPT2),
    ],
)
def test_the_last_layer_of_other_heads_is_found(name: str, settings: dict[str, Any]) -> None:
    model: Any = stock(name, **settings)().double().eval()
    ids = torch.tensor([[2, 3, 4]])
    with torch.no_grad():
        before = model(ids).logits
        fold_zlpr(model)
        torch.testing.assert_close(model(ids).logits, 2 * before, rtol=0, atol=1e-12)
    assert model.config.problem_type == "multi_label_classification"


def test_it_is_done_once(tmp_path: Path) -> None:
    model = bert()
    fold_zlpr(model)
    model.save_pretrained(tmp_path)
    for folded in (model, BertForSequenceClassification.from_pretrained(tmp_path)):
        with pytest.raises(ValueError, match=r"logits are those of probabilities already .*: fold into it once"):
            fold_zlpr(folded)
        with pytest.raises(ValueError, match=r"config.zlpr_folded"):
            fold_priors(folded, class_priors([0, 1], model.config.num_labels))
    other = bert()
    fold_priors(other, class_priors([0, 1], other.config.num_labels))
    with pytest.raises(ValueError, match=r"priors are folded into this model already .*: fold into it once"):
        fold_zlpr(other)


def test_what_cannot_be_folded_is_named() -> None:
    wide = stock("RobertaForSequenceClassification", **small_config(num_labels=16))()
    with pytest.raises(
        ValueError, match=r"has 2 linear layers of 16 outputs .* encoder \(classifier.dense, classifier.out_proj\)"
    ):
        fold_zlpr(wide)
    fold_zlpr(wide, layer=wide.classifier.out_proj)
    bare = transformers.BertModel(BertConfig(**small_config()))
    with pytest.raises(ValueError, match=r"BertModel has no linear layers of 5 outputs outside of its encoder"):
        fold_zlpr(bare)
    without_bias, loss = (
        stock("LlamaForSequenceClassification", **_DECODER, pad_token_id=0)(),
        ZLPRLoss(threshold="learned"),
    )
    nn.init.constant_(loss.threshold, 0.5)
    with pytest.raises(ValueError, match=r"no bias that a learned threshold of 0.5 could go into"):
        fold_zlpr(without_bias, loss)
