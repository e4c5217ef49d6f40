"""A word-level Chinese tokenizer with everything that transformers' fast tokenizers answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BatchEncoding, TokenizersBackend
from transformers.tokenization_utils_base import PaddingStrategy, TruncationStrategy

from nlpkit.files import written_whole
from nlpkit.wobert.detokenization import detokenize
from nlpkit.wobert.encoding import Encoding, Run, TokenSequence, collection_paused, read
from nlpkit.wobert.pieces import LONGEST_WORD, Fallback, WordSplitter
from nlpkit.wobert.segmenters import JiebaSegmenter, Segmenter, describe, make_segmenter
from nlpkit.wobert.text_reader import AddedTokenRule, PresplitReader, TextReader
from nlpkit.wobert.truncation import Truncation, rows
from nlpkit.wobert.vocabulary_file import check_vocabulary, read_vocabulary, write_vocabulary

logger = logging.getLogger(__name__)


class WoBertTokenizer(TokenizersBackend):
    """Words of the vocabulary are tokens; everything else is spelt as BERT spells it.

    Source: WoBERT (kexue.fm/archives/7758).

    Args:
        vocab: vocabulary file (one token a line), or token to id.
        fallback: what becomes of a word that the vocabulary lacks. ``"faithful"``: Chinese characters, as published
            checkpoints were trained; ``"constrained"``: the most probable sequence of vocabulary words.
        segmenter: ``"rjieba"`` (jieba's dictionary, HMM off), ``"jieba"`` (with ``user_dict`` and ``hmm``), or any
            object with ``name`` and ``cut(text)``.
        user_dict: jieba user dictionary, for ``segmenter="jieba"``.
        hmm: let jieba guess unknown words, for ``segmenter="jieba"``.
        do_lower_case: normalise as uncased BERT does, before segmenting.
        unk_token: and the other four: the special tokens, which must be in the vocabulary.
        **kwargs: those of every transformers tokenizer.

    Raises:
        FileNotFoundError: the vocabulary file does not exist.
        ValueError: the vocabulary is broken or lacks a special token; an option is unknown.

    Note:
        Batches, pairs, padding, truncation with stride, offsets into the original text, ``word_ids`` (a word is a
        segment), pickling and threads work as with any fast tokenizer. Segmentation happens in this class, not in
        ``backend_tokenizer``, which keeps the added tokens and would split Chinese into characters. Saving writes
        ``vocab.txt`` and no ``tokenizer.json``, so that a program which never imported nlpkit gets an error rather
        than the wrong tokens.

    Example:
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "今天", "天气", "不", "错"]
        >>> tokenizer = WoBertTokenizer({word: number for number, word in enumerate(words)})
        >>> tokenizer.tokenize("天气不[MASK]！")
        ['天气', '不', '[MASK]', '[UNK]']
        >>> tokenizer("不错", return_offsets_mapping=True)["offset_mapping"]
        [(0, 0), (0, 1), (1, 2), (0, 0)]
    """

    # Checked on transformers 5.23.0: `__call__`, `encode` and `tokenize` all come to `_encode_plus`, `decode` to
    # `_decode`, `add_tokens` to `_add_tokens`; `from_pretrained` passes the files named here under these keywords.
    vocab_files_names: ClassVar = {
        "vocab_file": "vocab.txt",
        "tokenizer_file": "tokenizer.json",
        "user_dict": "user_dict.txt",
    }
    model_input_names: ClassVar = ["input_ids", "token_type_ids", "attention_mask"]
    model = WordPiece

    def __init__(
        self,
        vocab: str | Path | Mapping[str, int] | None = None,
        fallback: Fallback = "faithful",
        segmenter: str | Segmenter | Mapping[str, Any] = "rjieba",
        user_dict: str | Path | None = None,
        hmm: bool = False,
        do_lower_case: bool = True,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        **kwargs: Any,
    ) -> None:
        if vocab is None:
            where = kwargs.get("name_or_path") or "the arguments"
            raise ValueError(f"no vocabulary in {where}; give vocab=file or dict, or a folder with vocab.txt")
        vocabulary = dict(vocab) if isinstance(vocab, Mapping) else read_vocabulary(vocab)
        special = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        check_vocabulary(vocabulary, special)
        self._splitter = WordSplitter(
            vocabulary, vocabulary[str(unk_token)], _segmenter(segmenter, user_dict, hmm), fallback, do_lower_case
        )
        self._tokenizer = _backend(vocabulary, str(unk_token), str(cls_token), str(sep_token), do_lower_case)
        kwargs.setdefault("model_max_length", 512)
        super().__init__(
            fallback=fallback,
            do_lower_case=do_lower_case,
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **kwargs,
        )

    @property
    def segmenter(self) -> Segmenter:
        """What cuts texts into words."""
        return self._splitter.segmenter

    def _add_tokens(self, new_tokens: list[str | AddedToken], special_tokens: bool = False) -> int:
        added: int = super()._add_tokens(new_tokens, special_tokens)
        self._reader = self._make_reader(split_special_tokens=False)
        return added

    def _make_reader(self, split_special_tokens: bool) -> TextReader:
        rules = [
            AddedTokenRule(token.content, number, token.lstrip, token.rstrip, token.single_word, token.normalized)
            for number, token in self.added_tokens_decoder.items()
            if not (split_special_tokens and token.special)
        ]
        return TextReader(self._splitter, rules)

    def _encode_plus(  # type: ignore[override]
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        split_special = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        text_reader = self._make_reader(True) if split_special else self._reader
        reader = PresplitReader(text_reader) if is_split_into_words else text_reader
        limit = None if truncation_strategy == TruncationStrategy.DO_NOT_TRUNCATE else max_length
        special = [self.cls_token_id, self.sep_token_id] if add_special_tokens else []
        with collection_paused():
            batch, is_batched = _batch(text, text_pair, is_split_into_words)
            encodings = []
            for sources in batch:
                sequences = [read(reader, source, return_offsets_mapping) for source in sources]
                if limit is None:
                    encodings.append(Encoding(self._runs(sequences, special), self.convert_ids_to_tokens))
                else:
                    truncation = Truncation(truncation_strategy.value, limit, stride, self.truncation_side)
                    encodings.append(self._truncated(sequences, special, truncation))
            encodings = self._padded(encodings, padding_strategy, max_length, pad_to_multiple_of, padding_side)

            columns: dict[str, list[Any]] = {}
            parts: list[Encoding] = []
            for number, encoding in enumerate(encodings):
                column_parts, encoding_parts = self._convert_encoding(
                    encoding,
                    return_token_type_ids,
                    return_attention_mask,
                    return_overflowing_tokens,
                    return_special_tokens_mask,
                    return_offsets_mapping,
                    return_length,
                )
                if return_overflowing_tokens:
                    column_parts["overflow_to_sample_mapping"] = [number] * len(encoding_parts)
                for name, values in column_parts.items():
                    columns.setdefault(name, []).extend(values)
                parts += encoding_parts
        longest = max(columns.get("input_ids", [[]]), key=len)
        self._eventual_warn_about_too_long_sequence(longest, max_length, verbose)
        if not is_batched and return_tensors is None and not return_overflowing_tokens:
            return BatchEncoding({name: values[0] for name, values in columns.items()}, parts)
        return BatchEncoding(columns, parts, tensor_type=return_tensors)

    def _runs(
        self, sequences: Sequence[TokenSequence], special: list[int], slices: Sequence[tuple[int, int]] | None = None
    ) -> list[Run]:
        """``[CLS] A [SEP] B [SEP]``, of slices of the sequences where these are given."""
        runs = [Run(special[:1], 0)] if special else []
        for number, sequence in enumerate(sequences):
            begin, stop = slices[number] if slices else (0, len(sequence.ids))
            runs.append(Run(sequence.ids[begin:stop], number, 1, sequence, number, begin))
            if special:
                runs.append(Run(special[1:], number))
        return runs

    def _truncated(self, sequences: Sequence[TokenSequence], special: list[int], truncation: Truncation) -> Encoding:
        room = truncation.max_length - (len(sequences) + 1 if special else 0)
        if room < 0:
            raise ValueError(
                f"max_length={truncation.max_length} leaves no room for the {len(sequences) + 1} special tokens"
            )
        slices = rows([len(sequence.ids) for sequence in sequences], truncation._replace(max_length=room))
        first, *others = [
            Encoding(self._runs(sequences, special, spans), self.convert_ids_to_tokens) for spans in slices
        ]
        first.overflowing = others
        return first

    def _padded(
        self,
        encodings: list[Encoding],
        strategy: PaddingStrategy,
        max_length: int | None,
        multiple: int | None,
        side: str | None,
    ) -> list[Encoding]:
        if strategy == PaddingStrategy.DO_NOT_PAD or not encodings:
            return encodings
        if strategy == PaddingStrategy.MAX_LENGTH and max_length is not None:
            length = max_length
        else:
            length = max(len(encoding) for encoding in encodings)
        if multiple:
            length = -(-length // multiple) * multiple
        pad = Run([self.pad_token_id], self.pad_token_type_id, 0)
        return [encoding.padded(length, pad, side or self.padding_side) for encoding in encodings]

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(number) for number in token_ids]
        outside = next((number for number in ids if not 0 <= number < len(self)), None)
        if outside is not None:
            raise ValueError(f"token id {outside} is outside the vocabulary of {len(self)} tokens")
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to a text; see :func:`nlpkit.wobert.detokenization.detokenize`."""
        return detokenize(tokens, frozenset(self.all_special_tokens))

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Save ``vocab.txt``, ``tokenizer_config.json`` and, with a user dictionary, ``user_dict.txt``, or nothing.

        Args:
            save_directory: folder, made if it does not exist.
            *args: those of every transformers tokenizer.
            **kwargs: likewise.

        Returns:
            The files written.
        """
        with written_whole(save_directory) as draft:
            super().save_pretrained(str(draft), *args, **kwargs)
            config = draft / "tokenizer_config.json"
            settings = json.loads(config.read_text("utf-8"))
            settings["segmenter"] = describe(self.segmenter)
            settings["added_tokens_decoder"] = {
                number: token.__getstate__() for number, token in self.added_tokens_decoder.items()
            }
            config.write_text(json.dumps(settings, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
            names = sorted(path.name for path in draft.iterdir())
        return tuple(str(Path(save_directory) / name) for name in names)

    def _save_pretrained(
        self, save_directory: str, file_names: tuple[str, ...], *args: Any, **kwargs: Any
    ) -> tuple[str, ...]:
        write_vocabulary(self._splitter.vocabulary, Path(save_directory) / "vocab.txt")
        segmenter = self.segmenter
        if isinstance(segmenter, JiebaSegmenter) and segmenter.user_words:
            (Path(save_directory) / "user_dict.txt").write_text(segmenter.user_words, "utf-8")
        return file_names

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a word vocabulary is counted, not trained; use ``nlpkit.build_vocabulary``."""
        raise NotImplementedError("a word vocabulary is counted, not trained: use nlpkit.build_vocabulary(corpus=...)")


def _segmenter(segmenter: str | Segmenter | Mapping[str, Any], user_dict: str | Path | None, hmm: bool) -> Segmenter:
    """The segmenter asked for, or the one that a saved tokenizer names."""
    if not isinstance(segmenter, Mapping):
        return make_segmenter(segmenter, user_dict, hmm)
    if segmenter["name"] not in ("rjieba", "jieba"):
        raise ValueError(
            f"this tokenizer was saved with a segmenter of its own, {segmenter['name']!r};"
            " pass it again: from_pretrained(..., segmenter=...)"
        )
    made = make_segmenter(segmenter["name"], user_dict, hmm or segmenter.get("hmm", False))
    here = describe(made)
    changes = [f"{key} {segmenter.get(key)} -> {here[key]}" for key in here if here[key] != segmenter.get(key)]
    if changes:
        logger.warning(
            "this tokenizer was saved with another %s (%s): texts may be cut differently; install the saved version,"
            " or save the tokenizer again to accept this one",
            segmenter["name"],
            "; ".join(changes),
        )
    return made


def _backend(vocabulary: dict[str, int], unknown: str, start: str, end: str, lower_case: bool) -> Tokenizer:
    backend = Tokenizer(WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return backend


def _batch(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[tuple[Any, ...]], bool]:
    """The sources of each row, and whether a batch was given; refuses what is no text."""
    if is_split_into_words:
        is_batched = isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    else:
        is_batched = isinstance(text, (list, tuple))
    firsts = text if is_batched else [text]
    if text_pair is None:
        batch = [item if isinstance(item, tuple) and len(item) == 2 else (item,) for item in firsts]
    else:
        seconds = text_pair if is_batched else [text_pair]
        if isinstance(seconds, str) or len(seconds) != len(firsts):
            raise ValueError(f"text has {len(firsts)} rows but text_pair has {len(seconds)}; give one pair a row")
        batch = list(zip(firsts, seconds, strict=True))
    for row, sources in enumerate(batch):
        for source in sources:
            if isinstance(source, str) and not is_split_into_words:
                continue
            if is_split_into_words and isinstance(source, (list, tuple)) and all(isinstance(w, str) for w in source):
                continue
            raise _not_a_text(source, row, is_split_into_words)
    return batch, is_batched


def _not_a_text(source: Any, row: int, is_split_into_words: bool) -> TypeError:
    expected = "a list of str (is_split_into_words=True)" if is_split_into_words else "a str"
    hint = {
        bytes: "; decode it first: text.decode('utf-8')",
        type(None): "; replace missing texts with '' or drop them",
        list: "; for lists of words pass is_split_into_words=True",
    }.get(type(source), "")
    return TypeError(f"text of row {row} must be {expected}, got {type(source).__name__}{hint}")
