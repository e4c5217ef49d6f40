"""SentencePiece files trained for the tests, on text written for them."""

from __future__ import annotations

from pathlib import Path

from sentencepiece import SentencePieceTrainer

TEXTS = [
    "今天天气很好，我们去公园散步。",
    "酒店的服务态度很好，房间也很干净。",
    "天气不好的时候，我们在酒店看书。",
    "The weather is good and the hotel is clean.",
    "We read good books in the hotel when it rains.",
    "公园里的花开了，朋友们都来看花。",
] * 9


def train_file(folder: Path, sentinels: int = 0, **options: object) -> Path:
    """Train ``spiece.model`` in a folder: Unigram with bytes, T5's special pieces and mT5's kind of sentinels."""
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / "spiece"),
        **{
            "vocab_size": 420,
            "hard_vocab_limit": False,
            "byte_fallback": True,
            "normalization_rule_name": "nmt_nfkc",
            "user_defined_symbols": [f"▁<extra_id_{number}>" for number in reversed(range(sentinels))],
            "pad_id": 0,
            "eos_id": 1,
            "unk_id": 2,
            "bos_id": -1,
            "minloglevel": 9,
            **options,
        },
    )
    return folder / "spiece.model"
