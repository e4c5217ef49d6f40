"""What the shipped Chinese models do, on text written for this demonstration, offline.

    make demo

Five parts: word against character tokens; filling masks; the sentiment of reviews without any training, read off the
probabilities of two words at a mask (PET's zero-shot, kexue.fm/archives/7764); words and a tree out of the impact that
each character or word has on the others (perturbed masking, kexue.fm/archives/7476); titles, written by a small mT5.
Each text has its translation.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from nlpkit.wobert import WoBertTokenizer

SENTENCES = {
    "这家酒店的服务态度很好，房间干净，早餐也不错。": "This hotel's service is good, the rooms clean, breakfast fine.",
    "昨天晚上我们在图书馆学习了人工智能的基础知识。": "Last night in the library we studied the basics of AI.",
    "随着经济的发展，人民的生活水平不断提高。": "As the economy grows, people's standard of living rises.",
    "新手机的屏幕很清晰，可是电池用不了一天。": "A sharp screen on the new phone, but the battery lasts no day.",
}
GAPS = {
    "酒店的服务态度很[MASK]。": "The hotel's service is very ＿＿.",
    "他每天早上都去公园[MASK]。": "He goes to the park every morning to ＿＿.",
    "北京是中国的[MASK]。": "Beijing is China's ＿＿.",
    "这本书的内容非常[MASK]。": "The content of this book is very ＿＿.",
    "下雨了，出门要带[MASK]。": "It is raining: take ＿＿ when you go out.",
}
MEANINGS = {
    **{"好": "good", "差": "bad", "不错": "not bad", "热情": "warm", "到位": "thorough", "公园": "park", "看": "look"},
    **{
        "去": "go",
        "了": "(done)",
        "中心": "centre",
        "城市": "city",
        "人": "people",
        "之一": "one of",
        "代表": "symbol",
    },
    **{"丰富": "rich", "重要": "important", "有趣": "amusing", "着": "(-ing)", "伞": "umbrella", "雨": "rain"},
    **{"口罩": "face mask", "回来": "come back"},
}
REVIEWS = [
    ("房间又大又干净，前台热情，下次还会住这里。", True, "Big clean room, friendly desk, will stay again."),
    ("空调坏了没人修，隔音也差，一夜没睡好。", False, "Broken air conditioning, thin walls, no sleep."),
    ("老板很实在，味道正宗，全家都喜欢。", True, "Honest owner, real taste, the family loves it."),
    ("等了一个小时才上菜，还是凉的，再也不来了。", False, "Food came cold after an hour; never again."),
    ("书的印刷精美，内容也有深度，值得收藏。", True, "Finely printed book with depth, worth keeping."),
    ("收到的货是坏的，客服一直不回消息。", False, "Arrived broken; support never answers."),
    ("速度快，屏幕漂亮，这个价格很划算。", True, "Fast, a fine screen, good value."),
    ("用了两天就死机，质量太差，要求退货。", False, "Dead after two days, poor quality, refund."),
    ("交通方便，离地铁站很近，早餐种类丰富。", True, "Close to the metro, rich breakfast."),
    ("水果都烂了，包装也破了，非常失望。", False, "Rotten fruit, torn packing, disappointing."),
    ("讲得清楚明白，适合初学者，推荐购买。", True, "Clearly explained, good for beginners."),
    ("卫生间有异味，床单上有污渍，让人难以忍受。", False, "Smelly bathroom, stained sheets, unbearable."),
]
UNCUT = {
    "今天天气不错，我们去公园散步。": "The weather is nice today, we go for a walk in the park.",
    "酒店的服务态度很好，房间干净。": "The hotel's service is good, the rooms are clean.",
    "他们在图书馆讨论新的问题。": "They discuss new questions in the library.",
}
PARSED = {"老师": "teacher", "给": "to", "学生": "pupils", "讲": "tells", "历史": "history", "故事": "stories"}
REPORTS = {
    "本报讯 昨天下午，市图书馆新馆正式开放。新馆共有六层，藏书八十万册，市民凭身份证即可免费借书。": (
        "The city library's new building opened yesterday: six floors, 800,000 books, free to borrow."
    ),
    "记者从气象台了解到，受冷空气影响，今天夜里到明天北方大部分地区将有大雪，专家提醒市民出行注意安全。": (
        "Heavy snow in most of the north from tonight, the weather service says; take care on the roads."
    ),
}
TITLE_MODEL, TITLE_PREFIX = "t5-mini-zh", "标题："
PATTERN, PATTERN_IN_ENGLISH = "{review}总之，我很[MASK]。", "{review} In short, I am ＿＿."
POSITIVE = {"满意": "satisfied", "喜欢": "fond of it", "高兴": "glad"}
NEGATIVE = {"失望": "disappointed", "生气": "angry", "后悔": "sorry"}

console = Console(width=100, highlight=False)


def main(argv: list[str]) -> None:
    """Show the five parts."""
    ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter).parse_args(argv)
    console.print("Loading PyTorch, transformers and the shipped model; this takes some seconds ...")
    start = time.monotonic()
    # Not at the top of the file: this takes seconds, and a demonstration should speak first.
    from transformers import AutoModelForMaskedLM, AutoTokenizer
    from transformers.utils import logging

    import nlpkit

    logging.disable_progress_bar()
    folder = nlpkit.model_path("wobert-mini-zh")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32").eval()
    console.print(
        f"{folder.name}, {model.num_parameters() / 1e6:.1f} M parameters: {time.monotonic() - start:.0f} s\n"
    )
    show_tokens(tokenizer)
    show_fillings(tokenizer, model)
    show_sentiment(tokenizer, model)
    show_words_and_tree(tokenizer, model)
    show_titles(TITLE_MODEL)


def show_tokens(words: WoBertTokenizer) -> None:
    """Word tokens beside the character tokens of BERT over the same vocabulary."""
    from transformers import BertTokenizer

    characters = BertTokenizer(vocab=words.get_vocab())
    table = Table("characters", "words", "word tokens", title="1. One token per word", show_lines=True)
    counts = [0, 0]
    for sentence, translation in SENTENCES.items():
        pieces, singles = words.tokenize(sentence), characters.tokenize(sentence)
        counts = [counts[0] + len(singles), counts[1] + len(pieces)]
        table.add_row(str(len(singles)), str(len(pieces)), f"{' '.join(pieces)}\n[dim]{translation}[/dim]")
    console.print(table)
    console.print(f"The same text in {counts[1] / counts[0]:.0%} of the tokens.\n")


def mask_probabilities(tokenizer: WoBertTokenizer, model: PreTrainedModel, texts: list[str]) -> torch.Tensor:
    """Probabilities of every token at the one mask of each text, shape ``(texts, vocab)``."""
    import torch

    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits  # (texts, length, vocab)
    return logits[batch["input_ids"] == tokenizer.mask_token_id].softmax(dim=-1)


def show_fillings(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """The five most probable words for each gap."""
    table = Table("text", "the model's words", title="2. What stands in the gap?", show_lines=True)
    for (text, translation), probabilities in zip(
        GAPS.items(), mask_probabilities(tokenizer, model, list(GAPS)), strict=True
    ):
        best = probabilities.topk(5)
        words = tokenizer.convert_ids_to_tokens(best.indices.tolist())
        table.add_row(
            f"{text.replace('[MASK]', '＿＿')}\n[dim]{translation}[/dim]",
            "\n".join(
                f"{share:4.0%} {word} [dim]{MEANINGS.get(word, '')}[/dim]"
                for word, share in zip(words, best.values.tolist(), strict=True)
            ),
        )
    console.print(table)
    console.print()


def show_sentiment(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """Reviews sorted into good and bad by words at a mask, against what the words get without a review."""
    import torch

    sides = [tokenizer.convert_tokens_to_ids(list(side)) for side in (POSITIVE, NEGATIVE)]
    texts = [PATTERN.format(review=review) for review, _, _ in REVIEWS]
    probabilities = mask_probabilities(tokenizer, model, [*texts, PATTERN.format(review="")])
    scores = torch.stack([probabilities[:, side].sum(dim=-1) for side in sides], dim=-1).log()  # (texts + 1, 2)
    # Contextual calibration: how much more probable than without any review.
    positive = (scores[:-1] - scores[-1]).softmax(dim=-1)[:, 0].tolist()
    table = Table("review", "positive", "", title="3. Sentiment without training")
    right = 0
    for (review, is_good, translation), share in zip(REVIEWS, positive, strict=True):
        right += (share > 0.5) == is_good
        verdict = "right" if (share > 0.5) == is_good else "wrong"
        table.add_row(f"{review}\n[dim]{translation}[/dim]", f"{share:.0%}", verdict)
    console.print(table)
    console.print(f"Pattern: {PATTERN.replace('[MASK]', '＿＿')}  [dim]{PATTERN_IN_ENGLISH}[/dim]", highlight=False)
    for side in (POSITIVE, NEGATIVE):
        console.print("Words: " + ", ".join(f"{word} [dim]{meaning}[/dim]" for word, meaning in side.items()))
    console.print(f"{right} of {len(REVIEWS)} right; nothing here was trained on reviews with labels.\n")


def show_words_and_tree(tokenizer: WoBertTokenizer, model: PreTrainedModel) -> None:
    """Sentences cut into words without a dictionary, and a dependency tree without grammar."""
    from nlpkit.perturbed_masking import Parse, PerturbedMasking, Sentence, eisner

    table = Table("words found by the model alone", title="4. Words and trees from masking twice", show_lines=True)
    characters = PerturbedMasking(model, tokenizer, units="characters", show_progress=False)
    for words, translation in zip(characters.segment(list(UNCUT)), UNCUT.values(), strict=True):
        table.add_row(f"{' '.join(words)}\n[dim]{translation}[/dim]")
    console.print(table)
    console.print(f"\nA tree over {''.join(PARSED)}, [dim]the teacher tells the pupils stories from history[/dim]:")
    parser = PerturbedMasking(model, tokenizer, show_progress=False)
    (impact,) = parser.impact([list(PARSED)])
    labelled = Sentence.of([f"{word} {meaning}" for word, meaning in PARSED.items()])
    parse = Parse(labelled, impact, eisner(impact))
    console.print(parse.drawing(), markup=False)


def show_titles(name: str) -> None:
    """Titles of short reports, by a small encoder-decoder: a shipped one's name, or a folder."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    import nlpkit

    title = "5. A title for a report"
    if not Path(name).is_dir():
        try:
            name = str(nlpkit.model_path(name))
        except FileNotFoundError:
            console.print(f"\n{title}: left out, since there is no models/{name} yet. Some hours make it:")
            recipe = "recipes/mt5_pretrain.py recipes/configs/mt5_pretrain/mini_zh.yaml"
            console.print(f"  python {recipe} --train_files 'TEXTS/*.txt'", soft_wrap=True)
            console.print(f"  cp -r runs/{name}/model models/{name}")
            return
    logging.set_verbosity_error()  # it would say that the head is not tied, which is as it should be
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSeq2SeqLM.from_pretrained(name, dtype="float32")
    table = Table(Column("report", min_width=60), "title", title=title, show_lines=True)
    written = nlpkit.generate_texts(model, tokenizer, [TITLE_PREFIX + text for text in REPORTS], max_new_tokens=32)
    for (text, translation), found in zip(REPORTS.items(), written, strict=True):
        table.add_row(f"{text}\n[dim]{translation}[/dim]", escape(found))
    console.print()
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
