"""mT5's and umT5's own tokenizer, as a file that ``AutoTokenizer`` loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from nlpkit.files import read_json
from nlpkit.mt5.unigram_json import sentinel_pieces, unigram_json
from nlpkit.sentencepiece_file import FILE_NAMES, SentencePieceFile, read_sentencepiece, sentencepiece_of
from nlpkit.sources import find_file, find_folder

#: T5's, where neither the pieces nor the settings say how many.
_USUAL_SENTINELS = 100


def faithful_tokenizer(source: str | Path, **hub: Any) -> PreTrainedTokenizerFast:
    """The tokenizer of a T5-like model as SentencePiece cuts it: bytes for rare characters, sentinels at their ids.

    ``T5Tokenizer`` of transformers 5 has no byte fallback and appends a hundred sentinels to mT5's own, and it passes
    over a right ``tokenizer.json``. Save what this function returns beside the model, and ``AutoTokenizer`` loads it.

    Source: SentencePiece (arXiv 1808.06226); mT5 (arXiv 2010.11934).

    Args:
        source: a folder with a SentencePiece file, that file, or a repository on the Hub.
        **hub: for a repository, as for ``nlpkit.sources.find_file``.

    Returns:
        A tokenizer of transformers whose ``tokenizer_class`` is ``TokenizersBackend``. ``<extra_id_0>`` and so on are
        special tokens at the ids that the model knows them by.

    Raises:
        FileNotFoundError: there is no such folder or file, or no SentencePiece file in it.
        ValueError: the file is damaged, holds no Unigram vocabulary or cannot be read the same by a tokenizer.json, or
            the model's settings in the folder have fewer rows than the tokenizer has ids.

    Note:
        As everywhere in transformers, ``</s>`` or ``<extra_id_0>`` within a text is that token; SentencePiece reads
        letters, and its sentinels only behind white space. ``tokenizer(text, split_special_tokens=True)`` reads
        letters, too. Scores are added in fp64, SentencePiece's in fp32: where two segmentations have the same sum,
        as two orders of the same pieces, the other may be taken.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from sentencepiece import SentencePieceTrainer
        >>> texts = ["天气很好", "今天天气不错", "good weather"] * 9
        >>> with TemporaryDirectory() as folder:
        ...     SentencePieceTrainer.train(
        ...         sentence_iterator=iter(texts), model_prefix=f"{folder}/spiece", vocab_size=300, byte_fallback=True,
        ...         pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=9,
        ...     )
        ...     tokenizer = faithful_tokenizer(folder)
        >>> tokenizer.decode(tokenizer("𠮷天气")["input_ids"], skip_special_tokens=True)
        '𠮷天气'
        >>> tokenizer.tokenize("天<extra_id_0>𠮷")
        ['▁', '天', '<extra_id_0>', '<0xF0>', '<0xA0>', '<0xAE>', '<0xB7>']
    """
    path, folder = _find(source, hub)
    proto = read_sentencepiece(path)
    backend = Tokenizer.from_str(json.dumps(unigram_json(proto, _sentinels(proto, folder))))
    settings = _settings(proto, folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens=[
            token.content
            for _, token in sorted(backend.get_added_tokens_decoder().items())
            if "<extra_id_" in token.content
        ],
        **settings,
    )
    _check_rows(len(tokenizer), folder)
    return tokenizer


def _find(source: str | Path, hub: dict[str, Any]) -> tuple[Path, Path]:
    """The SentencePiece file, and the folder of the settings beside it."""
    if Path(source).is_file():
        return Path(source), Path(source).parent
    for name in FILE_NAMES:
        path = find_file(source, name, **hub)
        if path is not None:
            for other in ("config.json", "tokenizer_config.json"):
                find_file(source, other, **hub)  # of a repository, brings it beside the first
            return path, path.parent
    folder = find_folder(source, **hub)
    assert sentencepiece_of(folder) is None
    raise FileNotFoundError(f"{source} holds no SentencePiece file ({', '.join(FILE_NAMES)}); copy it there")


def _sentinels(proto: SentencePieceFile, folder: Path) -> dict[str, int]:
    """Ids of the sentinels: among the pieces, or behind them, as the tokenizer's settings have them."""
    among = sentinel_pieces(proto)
    if among:
        return among
    settings = _read(folder / "tokenizer_config.json")
    placed = {
        token["content"]: int(number)
        for number, token in settings.get("added_tokens_decoder", {}).items()
        if "<extra_id_" in token["content"]
    }
    if placed:
        return placed
    named = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    listed = sum("<extra_id_" in (token if isinstance(token, str) else token["content"]) for token in named)
    count = listed or settings.get("extra_ids", _USUAL_SENTINELS)
    return {f"<extra_id_{count - 1 - place}>": len(proto.pieces) + place for place in range(count)}


def _settings(proto: SentencePieceFile, folder: Path) -> dict[str, Any]:
    """What transformers keeps beside ``tokenizer.json``."""
    spec = proto.trainer_spec
    roles = {"pad_token": spec.pad_id, "eos_token": spec.eos_id, "unk_token": spec.unk_id, "bos_token": spec.bos_id}
    tokens = {role: proto.pieces[number].piece for role, number in roles.items() if number >= 0}
    kept = {
        name: value
        for name, value in _read(folder / "tokenizer_config.json").items()
        if name in ("model_max_length", "padding_side", "truncation_side", "chat_template")
    }
    return {**tokens, **kept, "model_input_names": ["input_ids", "attention_mask"]}


def _check_rows(tokens: int, folder: Path) -> None:
    rows = _read(folder / "config.json").get("vocab_size")
    if rows is not None and rows < tokens:
        raise ValueError(
            f"the tokenizer has {tokens} ids, but the model in {folder} has {rows} rows (vocab_size); put the "
            "SentencePiece file that belongs to the model there"
        )


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
