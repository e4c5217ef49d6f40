"""Strings that break tokenizers: mixed scripts, emoji, marks, controls, special tokens, very long words."""

from __future__ import annotations

import random

from hypothesis import strategies as st

ALPHABETS = (
    "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会",
    "今天天气不错酒店服务态度随时随地客户端免费小说研究生命起源乒乓球拍卖完了",
    "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789",
    "，。！？、；：“”‘’（）《》【】…—·,.!?;:'\"()[]{}<>@#$%^&*-_=+/\\|~`",
    " \t\n\r\u00a0\u3000\u2002\u2028\u2029\u0085\x0b\x0c\x1c",
    "\x00\x01\x7f\u200b\u200d\ufeff\ufffd\u00ad\u202e",
    "éüñçÅÉÜ\u0301\u0308\u0327\u20dd\u302e\u093f\u09cb\u0f71ΑΣΣςİıßŒﬁǅ",
    "😀👍🏽👩‍👩‍👧🇨🇳❤️",
    "ＡＢｃ１２３！￥％①②㎡㈱〇々〆",
    "あいうカキクー한국어각한",
    "𠀀𠮷𪚥𬜬㐀䶵豈更",
    "ΩμπЖдяאבגابجกขค्कि",
)
WORDS = (
    "[MASK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
    "[mask]",
    "##",
    "中国",
    "3.14",
    "C++",
    "http://a.b/c?d=1",
    "A" * 300,
)


def fuzz_string(generator: random.Random) -> str:
    """One string: a few stretches, each of one alphabet, one odd word, or any code point at all."""
    stretches = []
    for _ in range(generator.randrange(0, 8)):
        kind = generator.random()
        if kind < 0.75:
            alphabet = generator.choice(ALPHABETS)
            stretches.append("".join(generator.choices(alphabet, k=generator.randrange(1, 9))))
        elif kind < 0.9:
            stretches.append(generator.choice(WORDS))
        elif kind < 0.92:
            stretches.append(generator.choice(ALPHABETS)[0] * 500)
        else:
            codes = [generator.randrange(0x110000) for _ in range(4)]
            stretches.append("".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000))
    return "".join(stretches)


texts = st.lists(
    st.one_of(*(st.text(alphabet, min_size=1, max_size=6) for alphabet in ALPHABETS), st.sampled_from(WORDS)),
    max_size=6,
).map("".join)
