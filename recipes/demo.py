"""What the shipped word-level Chinese BERT does, on text written for this demonstration, offline.

    make demo

Four parts: word against character tokens; filling masks; the sentiment of reviews without any training, read off the
probabilities of two words at a mask (PET's zero-shot, kexue.fm/archives/7764); words and a tree out of how much each
character or word sways the others (perturbed masking, kexue.fm/archives/7476).
"""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer, PreTrainedModel
from transformers.utils import logging

import nlpkit
from nlpkit.perturbed_masking import Parse, PerturbedMasking, Sentence, eisner
from nlpkit.wobert import WoBertTokenizer

SENTENCES = [
    "这家酒店的服务态度很好，房间干净，早餐也不错。",
    "昨天晚上我们在图书馆学习了人工智能的基础知识。",
    "随着经济的发展，人民的生活水平不断提高。",
    "新手机的屏幕很清晰，可是电池用不了一天。",
]
GAPS = [
    "酒店的服务态度很[MASK]。",
    "他每天早上都去公园[MASK]。",
    "北京是中国的[MASK]。",
    "这本书的内容非常[MASK]。",
    "下雨了，出门要带[MASK]。",
]
REVIEWS = [
    ("房间又大又干净，前台热情，下次还会住这里。", True),
    ("空调坏了没人修，隔音也差，一夜没睡好。", False),
    ("老板很实在，味道正宗，全家都喜欢。", True),
    ("等了一个小时才上菜，还是凉的，再也不来了。", False),
    ("书的印刷精美，内容也有深度，值得收藏。", True),
    ("收到的货是坏的，客服一直不回消息。", False),
    ("速度快，屏幕漂亮，这个价格很划算。", True),
    ("用了两天就死机，质量太差，要求退货。", False),
    ("交通方便，离地铁站很近，早餐种类丰富。", True),
    ("水果都烂了，包装也破了，非常失望。", False),
    ("讲得清楚明白，适合初学者，推荐购买。", True),
    ("卫生间有异味，床单上有污渍，让人难以忍受。", False),
]
UNCUT = ["今天天气不错，我们去公园散步。", "酒店的服务态度很好，房间干净。", "他们在图书馆讨论新的问题。"]
PARSED = ["我们", "昨天", "在", "图书馆", "学习", "了", "新", "知识"]
PATTERN = "{review}总之，我很[MASK]。"
POSITIVE, NEGATIVE = ("满意", "喜欢", "高兴"), ("失望", "生气", "后悔")

console = Console(width=100, highlight=False)


def main() -> None:
    """Show the four parts."""
    logging.disable_progress_bar()
    folder = nlpkit.model_path("wobert-mini-zh")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32").eval()
    show_tokens(tokenizer)
    show_fillings(tokenizer, model)
    show_sentiment(tokenizer, model)
    show_words_and_tree(tokenizer, model)


def show_tokens(words: WoBertTokenizer) -> None:
    """Word tokens beside the character tokens of BERT over the same vocabulary."""
    characters = BertTokenizer(vocab=words.get_vocab())
    table = Table("characters", "words", "word tokens", title="1. One token a word")
    counts = [0, 0]
    for sentence in SENTENCES:
        pieces, singles = words.tokenize(sentence), characters.tokenize(sentence)
        counts = [counts[0] + len(singles), counts[1] + len(pieces)]
        table.add_row(str(len(singles)), str(len(pieces)), " ".join(pieces))
    console.print(table)
    console.print(f"The same text in {counts[1] / counts[0]:.0%} of the tokens.\n")


def mask_probabilities(tokenizer: WoBertTokenizer, model: PreTrainedModel, texts: list[str]) -> torch.Tensor:
    """Probabilities of every token at the one mask of each text, shape ``(texts, vocab)``."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits  # (texts, length, vocab)
    return logits[batch["input_ids"] == tokenizer.mask_token_id].softmax(dim=-1)


def show_fillings(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """The five most probable words for each gap."""
    table = Table("text", "the model's words", title="2. What stands in the gap?")
    for text, probabilities in zip(GAPS, mask_probabilities(tokenizer, model, GAPS), strict=True):
        best = probabilities.topk(5)
        words = tokenizer.convert_ids_to_tokens(best.indices.tolist())
        table.add_row(
            text.replace("[MASK]", "＿＿"),
            "  ".join(f"{word} {share:.0%}" for word, share in zip(words, best.values.tolist(), strict=True)),
        )
    console.print(table)
    console.print()


def show_sentiment(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """Reviews sorted into good and bad by words at a mask, against what the words get without a review."""
    sides = [tokenizer.convert_tokens_to_ids(list(side)) for side in (POSITIVE, NEGATIVE)]
    texts = [PATTERN.format(review=review) for review, _ in REVIEWS]
    probabilities = mask_probabilities(tokenizer, model, [*texts, PATTERN.format(review="")])
    scores = torch.stack([probabilities[:, side].sum(dim=-1) for side in sides], dim=-1).log()  # (texts + 1, 2)
    # Contextual calibration: how much more probable than without any review.
    positive = (scores[:-1] - scores[-1]).softmax(dim=-1)[:, 0].tolist()
    table = Table(
        "review", "positive", "", title=f"3. Sentiment without training: {PATTERN.replace('[MASK]', '＿＿')}"
    )
    right = 0
    for (review, is_good), share in zip(REVIEWS, positive, strict=True):
        right += (share > 0.5) == is_good
        table.add_row(review, f"{share:.0%}", "right" if (share > 0.5) == is_good else "wrong")
    console.print(table)
    console.print(f"{right} of {len(REVIEWS)} right; nothing here was trained on reviews with labels.")


def show_words_and_tree(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """Sentences cut into words without a dictionary, and a dependency tree without grammar."""
    table = Table("words found by the model alone", title="\n4. Words and trees from masking twice")
    characters = PerturbedMasking(model, tokenizer, units="characters", show_progress=False)
    for words in characters.segment(UNCUT):
        table.add_row(" ".join(words))
    console.print(table)
    parser = PerturbedMasking(model, tokenizer, show_progress=False)
    (influence,) = parser.impact([PARSED])
    console.print(Parse(Sentence.of(PARSED), influence, eisner(influence)).drawing(), markup=False)


if __name__ == "__main__":
    main()
