"""A word-level Chinese tokenizer with everything that transformers' fast tokenizers answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BatchEncoding, TokenizersBackend
from transformers.tokenization_utils_base import PaddingStrategy, TruncationStrategy

from nlpkit.files import whole_folder
from nlpkit.wobert.tokenizing.detokenization import detokenize
from nlpkit.wobert.tokenizing.encoding import Run, Side, collection_paused, read
from nlpkit.wobert.tokenizing.rows import COLUMNS, Layout, pad_rows, read_sources
from nlpkit.wobert.tokenizing.text_reader import AddedTokenRule, PresplitReader, TextReader
from nlpkit.wobert.tokenizing.truncation import Truncation
from nlpkit.wobert.words.segmenters import JiebaSegmenter, Segmenter, describe, restore_segmenter
from nlpkit.wobert.words.vocabulary_file import check_vocabulary, read_vocabulary, write_vocabulary
from nlpkit.wobert.words.word_splitter import LONGEST_WORD, Fallback, WordSplitter

_FILES = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json", "user_dict": "user_dict.txt"}
_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
#: As ``auto_map=`` for folders of other models than WoBERT: beside some model types AutoTokenizer passes over
#: ``tokenizer_class``, unless ``auto_map`` names a class (transformers 5.20.0 read, 5.23.0 tried). The file that it
#: names is only run with ``trust_remote_code=True``.
AUTO_MAP = {"AutoTokenizer": ["wobert_tokenizer.WoBertTokenizer", None]}
_AUTO_FILE = "from nlpkit import WoBertTokenizer\n"


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
    vocab_files_names = _FILES
    model_input_names = _INPUTS
    model: Any = WordPiece

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
            vocabulary,
            vocabulary[str(unk_token)],
            restore_segmenter(segmenter, user_dict, hmm),
            fallback,
            do_lower_case,
        )
        self._tokenizer = _backend(vocabulary, str(unk_token), str(cls_token), str(sep_token))
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

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        added: int = super()._add_tokens(new_tokens, special_tokens)
        self._reader = self._make_reader(split_special_tokens=False)
        self._splitting_reader = self._make_reader(split_special_tokens=True)
        return added

    def _make_reader(self, split_special_tokens: bool) -> TextReader:
        rules = [
            AddedTokenRule(token.content, number, token.lstrip, token.rstrip, token.single_word, token.normalized)
            for number, token in self.added_tokens_decoder.items()
            if not (split_special_tokens and token.special)
        ]
        return TextReader(self._splitter, rules)

    def _encode_plus(
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
        text_reader = self._splitting_reader if split_special else self._reader
        reader = PresplitReader(text_reader) if is_split_into_words else text_reader
        truncation = None
        if truncation_strategy != TruncationStrategy.DO_NOT_TRUNCATE and max_length is not None:
            truncation = Truncation(truncation_strategy.value, max_length, stride, _side(self.truncation_side))
        start, ends = [Run([self.cls_token_id], 0)], [Run([self.sep_token_id], number) for number in (0, 1)]
        layout = Layout(*((start, ends) if add_special_tokens else ([], [])), truncation, self._name_tokens)
        wanted = {
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
        }
        with collection_paused():
            batch, is_batched = read_sources(text, text_pair, is_split_into_words)
            encodings = [
                layout.row([read(reader, source, return_offsets_mapping) for source in sources]) for sources in batch
            ]
            if padding_strategy != PaddingStrategy.DO_NOT_PAD:
                length = max_length if padding_strategy == PaddingStrategy.MAX_LENGTH else None
                pad = Run([self.pad_token_id], self.pad_token_type_id, 0)
                side = _side(padding_side or self.padding_side)
                encodings = pad_rows(encodings, length, pad_to_multiple_of, pad, side)
            overflowing = [encoding.overflowing if return_overflowing_tokens else [] for encoding in encodings]
            parts = [row for first, more in zip(encodings, overflowing, strict=True) for row in (first, *more)]
            columns: dict[str, list[Any]] = {"input_ids": [row.ids for row in parts]}
            for argument, (column, read_off) in COLUMNS.items():
                if wanted[argument] or (wanted[argument] is None and column in self.model_input_names):
                    columns[column] = [read_off(row) for row in parts]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = [
                number for number, more in enumerate(overflowing) for _ in range(1 + len(more))
            ]
        if parts:
            self._eventual_warn_about_too_long_sequence(max(columns["input_ids"], key=len), max_length, verbose)
        answers: Any = parts  # what tokenizers.Encoding answers, if not of that class
        if not is_batched and return_tensors is None and not return_overflowing_tokens:
            return BatchEncoding({column: values[0] for column, values in columns.items()}, answers)
        return BatchEncoding(columns, answers, tensor_type=return_tensors)

    def _name_tokens(self, ids: list[int]) -> list[str]:
        names: list[Any] = [self.backend_tokenizer.id_to_token(number) for number in ids]
        return names

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
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return self.convert_tokens_to_string(self._name_tokens([number for number in ids if number not in skipped]))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to a text; see ``nlpkit.wobert.tokenizing.detokenization.detokenize``."""
        return detokenize(tokens, frozenset(self.all_special_tokens))

    def save_pretrained(self, save_directory: str | PathLike[Any], *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Save ``vocab.txt``, ``tokenizer_config.json`` and, with a user dictionary, ``user_dict.txt``, or nothing.

        With ``auto_map``, as ``wordify`` sets it, ``wobert_tokenizer.py`` goes with them: one line.

        Args:
            save_directory: folder, made if it does not exist.
            *args: those of every transformers tokenizer.
            **kwargs: likewise.

        Returns:
            The files written.
        """
        with whole_folder(Path(save_directory)) as draft:
            super().save_pretrained(str(draft), *args, **kwargs)
            config = draft / "tokenizer_config.json"
            settings = json.loads(config.read_text("utf-8"))
            settings["segmenter"] = describe(self.segmenter)
            if "auto_map" in settings:
                (draft / "wobert_tokenizer.py").write_text(_AUTO_FILE, "utf-8")
            settings["added_tokens_decoder"] = {
                number: token.__getstate__() for number, token in self.added_tokens_decoder.items()
            }
            config.write_text(json.dumps(settings, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
            names = sorted(path.name for path in draft.iterdir())
        return tuple(str(Path(save_directory) / name) for name in names)

    def _save_pretrained(
        self, save_directory: str | PathLike[Any], file_names: tuple[str, ...], *args: Any, **kwargs: Any
    ) -> tuple[str, ...]:
        write_vocabulary(self._splitter.vocabulary, Path(save_directory) / "vocab.txt")
        segmenter = self.segmenter
        if isinstance(segmenter, JiebaSegmenter) and segmenter.user_words:
            (Path(save_directory) / "user_dict.txt").write_text(segmenter.user_words, "utf-8")
        return file_names

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoTokenizer") -> None:
        """Nothing: saving writes what AutoTokenizer needs, and never this module itself."""

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a word vocabulary is counted, not trained; use ``nlpkit.build_vocabulary``."""
        raise NotImplementedError("a word vocabulary is counted, not trained: use nlpkit.build_vocabulary(corpus=...)")


def _backend(vocabulary: dict[str, int], unknown: str, start: str, end: str) -> Tokenizer:
    # No normalizer: it would rename added tokens.
    backend = Tokenizer(WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return backend


def _side(name: str) -> Side:
    if name not in ("left", "right"):
        raise ValueError(f"side={name!r} is unknown; use 'left' or 'right'")
    return "left" if name == "left" else "right"
