"""Chinese text written for the tests, in two domains, and a vocabulary and models that fit it."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
REVIEWS = [
    ["这家", "那家", "街角的", "朋友推荐的"],
    ["酒店", "餐厅", "书店", "商场"],
    ["服务", "态度", "环境", "价格", "位置"],
    ["很", "非常", "不太", "还算", "真的"],
    ["好", "满意", "便宜", "方便", "干净"],
    ["，下次再来。", "，值得推荐！", "，有点失望。", "。"],
]
WEATHER = [
    ["今天", "明天", "昨天", "周末"],
    ["北京", "上海", "广州", "山区"],
    ["上午", "下午", "夜里"],
    ["有小雨", "晴朗", "刮大风", "下雪", "多云"],
    ["，气温", "，最高气温", "，最低气温"],
    ["下降", "上升", "不变", "接近零度"],
    ["。", "，出门请带伞。", "，请注意保暖。"],
]
WORDS = (
    "这家 那家 街角 朋友 推荐 酒店 餐厅 书店 商场 服务 态度 环境 价格 位置 非常 不太 还算 真的 满意"
    " 便宜 方便 干净 下次 值得 有点 失望 今天 明天 昨天 周末 北京 上海 广州 山区 上午 下午 夜里 小雨"
    " 晴朗 大风 下雪 多云 气温 最高 最低 下降 上升 不变 接近 出门 注意 保暖"
).split()


def lines(domain: list[list[str]], count: int, seed: int) -> list[str]:
    """Sentences put together at random, two a line."""
    chooser = random.Random(seed)
    return ["".join(chooser.choice(part) for _ in range(2) for part in domain) for _ in range(count)]


def write_corpus(folder: Path, count: int = 400) -> list[Path]:
    """Write ``reviews.txt`` and ``weather.txt``."""
    paths = []
    for seed, (name, domain) in enumerate([("reviews", REVIEWS), ("weather", WEATHER)]):
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text("\n".join(lines(domain, count, seed)) + "\n", encoding="utf-8")
    return paths


def vocabulary() -> dict[str, int]:
    """The words of the sentences and all their characters."""
    characters = sorted({character for part in REVIEWS + WEATHER for text in part for character in text})
    return {token: number for number, token in enumerate(dict.fromkeys([*SPECIAL, *WORDS, *characters]))}


def tokenizer() -> WoBertTokenizer:
    return WoBertTokenizer(vocabulary())


def save_start_model(folder: Path, dropout: float = 0.1) -> Path:
    """Save a model of a few thousand weights with its tokenizer."""
    torch.manual_seed(0)
    config = WoBertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    WoBertForMaskedLM(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
