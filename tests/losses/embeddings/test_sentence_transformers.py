"""Our losses in sentence-transformers: its own ranking loss, and the same gradient with cached mini-batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor

from nlpkit import model_path
from nlpkit.losses import (
    FlatNCELoss,
    InfoNCELoss,
    NonContrastiveLoss,
    SentenceTransformersLoss,
    SupervisedContrastiveLoss,
)

sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")

QUESTIONS = ["手机屏幕碎了怎么办", "怎样学好英语", "今天北京下雨吗", "苹果多少钱一斤", "如何申请护照"]
ANSWERS = ["屏幕坏了可以换吗", "学英语的方法", "北京今天天气如何", "苹果的价格", "办护照的手续"]
OTHERS = ["电池坏了", "法语入门书", "上海的地铁", "香蕉的做法", "驾照考试"]


@pytest.fixture(scope="module")
def encoder() -> Any:
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    words = Transformer(str(model_path("wobert-mini-zh")))
    return sentence_transformers.SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())])


def features(encoder: Any, *columns: list[str]) -> list[dict[str, Tensor]]:
    return [encoder.preprocess(column) for column in columns]


def gradient(encoder: Any, loss: Any, columns: Any, labels: Tensor | None = None) -> tuple[float, Tensor]:
    encoder.zero_grad()
    torch.manual_seed(3)
    value = loss(features(encoder, *columns), labels)
    value.backward()
    return value.item(), torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


@pytest.mark.parametrize("columns", [(QUESTIONS, ANSWERS), (QUESTIONS, ANSWERS, OTHERS)], ids=["pairs", "triplets"])
def test_info_nce_over_anchors_is_the_ranking_loss(encoder: Any, columns: Any) -> None:
    from sentence_transformers.sentence_transformer import losses

    encoder.eval()
    theirs = losses.MultipleNegativesRankingLoss(encoder, scale=20.0)
    ours = SentenceTransformersLoss(encoder, InfoNCELoss(0.05, symmetric=False))
    value, slope = gradient(encoder, ours, columns)
    expected_value, expected_slope = gradient(encoder, theirs, columns)
    assert value == pytest.approx(expected_value, rel=1e-3, abs=1e-6)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-3, atol=1e-4 * expected_slope.abs().max().item())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_mini_batches_change_nothing(encoder: Any, size: int) -> None:
    """The last mini-batch is a short one."""
    encoder.eval()
    whole = gradient(encoder, SentenceTransformersLoss(encoder, FlatNCELoss()), (QUESTIONS, ANSWERS))
    cached = gradient(encoder, SentenceTransformersLoss(encoder, FlatNCELoss(), size), (QUESTIONS, ANSWERS))
    assert cached[0] == pytest.approx(whole[0], rel=1e-3, abs=1e-6)
    torch.testing.assert_close(cached[1], whole[1], rtol=1e-3, atol=1e-4 * whole[1].abs().max().item())


def test_classes_are_for_the_supervised_loss(encoder: Any) -> None:
    loss = SentenceTransformersLoss(encoder, SupervisedContrastiveLoss())
    assert loss(features(encoder, QUESTIONS), torch.tensor([0, 0, 1, 1, 2])).item() > 0
    with pytest.raises(ValueError, match=r"one column of texts needs labels"):
        loss(features(encoder, QUESTIONS))


def test_what_it_cannot_take_is_named(encoder: Any) -> None:
    with pytest.raises(TypeError, match=r"loss=NonContrastiveLoss\(...\) does not couple"):
        SentenceTransformersLoss(encoder, NonContrastiveLoss(torch.nn.Identity()))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mini_batch_size=0: give a whole number at least 1; None runs a batch"):
        SentenceTransformersLoss(encoder, InfoNCELoss(), 0)
    loss = SentenceTransformersLoss(encoder, InfoNCELoss(), 2)
    with pytest.raises(ValueError, match=r"2 columns of texts are anchors, positives and negatives whatever"):
        loss(features(encoder, QUESTIONS, ANSWERS), torch.tensor([1, 0, 1, 0, 1]))
    with pytest.raises(ValueError, match=r"labels must be numbers of groups \(torch.long\), not torch.float32"):
        loss(features(encoder, QUESTIONS), torch.tensor([0.1, 0.5, 1.0, 0.0, 0.3]))
    bag = {"input_ids": torch.tensor([4, 5, 6]), "offsets": torch.tensor([0, 1, 2])}  # of StaticEmbedding
    with pytest.raises(ValueError, match=r"features of one row for each text, and input_ids, offsets are not"):
        loss([bag, bag])


@pytest.mark.parametrize("size", [None, 2])
def test_a_prompt_is_left_out_of_the_mean_as_in_theirs(encoder: Any, size: int | None) -> None:
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.modules import Pooling

    words = encoder[0]
    prompted = sentence_transformers.SentenceTransformer(
        modules=[words, Pooling(words.get_embedding_dimension(), include_prompt=False)]
    ).eval()

    def columns() -> list[Any]:
        return [prompted.preprocess(QUESTIONS, prompt="查询："), prompted.preprocess(ANSWERS)]

    theirs = losses.MultipleNegativesRankingLoss(prompted, scale=20.0)(columns(), None)
    ours = SentenceTransformersLoss(prompted, InfoNCELoss(0.05, symmetric=False), size)(columns())
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_its_trainer_takes_it(encoder: Any, tmp_path: Path) -> None:
    arguments = sentence_transformers.SentenceTransformerTrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=5, use_cpu=True, report_to=[], save_strategy="no"
    )
    trainer = sentence_transformers.SentenceTransformerTrainer(
        encoder,
        arguments,
        train_dataset=Dataset.from_dict({"anchor": QUESTIONS, "positive": ANSWERS}),
        loss=SentenceTransformersLoss(encoder, InfoNCELoss(symmetric=False), mini_batch_size=2),
    )
    trainer.train()
    assert trainer.state.global_step == 2
