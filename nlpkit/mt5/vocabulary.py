"""A vocabulary of one's own for an mT5: a SentencePiece file trained on texts, laid out as mT5's is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from sentencepiece import SentencePieceTrainer
from transformers import PreTrainedTokenizerFast

from nlpkit.files import whole_folder
from nlpkit.mt5.faithful_tokenizer import faithful_tokenizer
from nlpkit.sentencepiece_file import PieceType, read_sentencepiece

#: As many as mT5 has.
SENTINELS = 100
#: Padding, end and unknown, and a piece for each byte.
_FIRST_PIECES = 3 + 256
#: On which the sums of scores depend, in their last bits.
_THREADS = 2


def train_vocabulary(
    texts: Iterable[str],
    size: int,
    folder: str | Path,
    *,
    character_coverage: float = 0.998,
    fewer: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a Unigram vocabulary for an mT5, and save its tokenizer.

    Ids are laid out as mT5's: padding 0, end 1, unknown 2, the bytes from 3, then pieces, and at the end a hundred
    sentinels, ``<extra_id_0>`` the last. Texts stay as they are, but for runs of spaces: mT5's own NFKC would write
    Chinese punctuation as ASCII's, so that what a model generates had none. A digit is a piece of its own.

    Source: SentencePiece (arXiv 1808.06226); mT5 (arXiv 2010.11934).

    Args:
        texts: one line each; a hundred thousand lines are enough for ten thousand pieces.
        size: ids in all.
        folder: gets ``spiece.model`` and the tokenizer's files, whole or not at all.
        character_coverage: share of the texts' characters that get a piece of their own, from 0.98; others are spelled
            in bytes, three for a Chinese character. Of Chinese, 0.998 are some 4,000, and leave room for words.
        fewer: take as many as few texts can give, where that is less than ``size``; an error otherwise.

    Returns:
        The tokenizer, as ``faithful_tokenizer`` makes it of the file, and ``AutoTokenizer`` loads it from the folder.

    Raises:
        ValueError: there are no texts; they cannot give that many pieces; or characters alone are more.

    Note:
        The same texts give the same file. A minute and 1 GB for a hundred thousand lines.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     tokenizer = train_vocabulary(["今天天气很好。", "明天天气不好！"] * 9, 370, folder)
        >>> len(tokenizer), tokenizer.convert_tokens_to_ids(["</s>", "<extra_id_0>"])
        (370, [1, 369])
        >>> tokenizer.decode(tokenizer("明天𠮷好！")["input_ids"], skip_special_tokens=True)
        '明天𠮷好！'
    """
    lines = [line for line in texts if line.strip()]
    if not lines:
        raise ValueError("there are no texts to make a vocabulary of; check the files")
    if not 0.98 <= character_coverage <= 1:  # SentencePiece's own bounds
        raise ValueError(f"character_coverage must lie between 0.98 and 1; got {character_coverage}")
    least = _FIRST_PIECES + SENTINELS + 1
    if size < least:
        raise ValueError(f"size={size} leaves no room for pieces beside bytes and sentinels; give at least {least}")
    with whole_folder(folder) as draft:
        _train(lines, size, draft / "spiece", character_coverage, fewer)
        (draft / "spiece.vocab").unlink()
        _append_sentinels(draft / "spiece.model")
        tokenizer = faithful_tokenizer(draft)
        tokenizer.save_pretrained(draft)
    return tokenizer


def _train(lines: list[str], size: int, prefix: Path, character_coverage: float, fewer: bool) -> None:
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=str(prefix),
            vocab_size=size - SENTINELS,
            model_type="unigram",
            byte_fallback=True,
            character_coverage=character_coverage,
            hard_vocab_limit=not fewer,
            normalization_rule_name="identity",
            split_digits=True,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            max_sentence_length=max(len(line.encode()) for line in lines) + 1,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        if most:
            raise ValueError(
                f"size={size} is more than {len(lines)} texts can give: at most {int(most[1]) + SENTINELS}; give "
                "more texts, or a smaller size"
            ) from None
        needed = re.search(r"required_chars\. \d+ vs (\d+)", str(error))
        if needed:
            raise ValueError(
                f"size={size} leaves no room for all characters that character_coverage={character_coverage} asks "
                f"for; give at least {int(needed[1]) + SENTINELS}, or a smaller coverage"
            ) from None
        raise


def _append_sentinels(path: Path) -> None:
    """Behind the other pieces, in falling order and with the space mark before them, as mT5 has them."""
    proto = read_sentencepiece(path)
    spec, pieces = cast(Any, proto.trainer_spec), cast(Any, proto.pieces)
    spec.model_prefix = path.stem  # not where the draft lay
    for number in reversed(range(SENTINELS)):
        pieces.add(piece=f"▁<extra_id_{number}>", score=0.0, type=PieceType.USER_DEFINED)
    path.write_bytes(proto.SerializeToString())
