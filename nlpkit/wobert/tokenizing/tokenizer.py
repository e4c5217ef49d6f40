"""A word-level Chinese tokenizer with everything that transformers' fast tokenizers answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BatchEncoding
from transformers.tokenization_utils_base import PaddingStrategy, TruncationStrategy

from nlpkit.wobert.tokenizing.detokenization import detokenize
from nlpkit.wobert.tokenizing.encoding import Run, Side, collection_paused, read
from nlpkit.wobert.tokenizing.rows import COLUMNS, Layout, pad_rows
from nlpkit.wobert.tokenizing.saved_settings import SIZE
from nlpkit.wobert.tokenizing.saving import SavedWithSegmenter
from nlpkit.wobert.tokenizing.sources import check_numbers, not_unicode, read_sources
from nlpkit.wobert.tokenizing.text_reader import AddedTokenRule, PresplitReader, TextReader
from nlpkit.wobert.tokenizing.truncation import Truncation
from nlpkit.wobert.words.reachability import cutting_its_words, unreachable_tokens
from nlpkit.wobert.words.segmenters import Segmenter, restore_segmenter
from nlpkit.wobert.words.vocabulary_file import check_vocabulary, read_vocabulary
from nlpkit.wobert.words.word_splitter import LONGEST_WORD, Fallback, WordSplitter

_FILES = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json", "user_dict": "user_dict.txt"}
_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


class WoBertTokenizer(SavedWithSegmenter):
    """Words of the vocabulary are tokens; everything else is spelt as BERT spells it.

    Source: WoBERT (kexue.fm/archives/7758).

    Args:
        vocab: vocabulary file (one token a line), or token to id.
        fallback: what becomes of a word that the vocabulary lacks. ``"faithful"``: Chinese characters, as published
            checkpoints were trained; ``"constrained"``: the most probable sequence of vocabulary words.
        segmenter: ``"rjieba"`` (jieba's dictionary, HMM off), ``"jieba"`` (with ``user_dict`` and ``hmm``), or any
            object with ``name`` and ``cut(text)``.
        user_dict: user dictionary in jieba's format, for segmenters given by name.
        hmm: let jieba guess unknown words, for ``segmenter="jieba"``.
        do_lower_case: normalise as uncased BERT does, before segmenting.
        cut_vocabulary_words: words of the vocabulary that the segmenter would never cut join its dictionary, so that
            each is one token of the texts that hold it.
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

    # Checked on transformers 5.23.0: `__call__`, `encode` and `tokenize` all come to `_encode_plus`, they and `pad` to
    # `_get_padding_truncation_strategies`, `decode` to `_decode`, `add_tokens` to `_add_tokens`; `from_pretrained`
    # passes the files named here under these keywords.
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
        cut_vocabulary_words: bool = False,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        **kwargs: Any,
    ) -> None:
        if vocab is None:
            where = kwargs.get("name_or_path") or "the arguments"
            raise ValueError(f"no vocabulary in {where}; give a folder with vocab.txt, or vocab=FILE")
        for name, value in (("do_lower_case", do_lower_case), ("cut_vocabulary_words", cut_vocabulary_words)):
            if not isinstance(value, bool):  # "no" would be a yes
                raise ValueError(f"{name}={value!r} must be True or False")
        vocabulary = dict(vocab) if isinstance(vocab, Mapping) else read_vocabulary(vocab)
        special = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        try:
            check_vocabulary(vocabulary, special)
        except ValueError as error:
            raise error if isinstance(vocab, Mapping) else ValueError(f"{vocab}: {error}") from None
        # Without the vocabulary's words: with this one the tokenizer is saved, beside its vocabulary.
        self._own_segmenter = restore_segmenter(segmenter, user_dict, hmm)
        self._splitter = WordSplitter(
            vocabulary, vocabulary[str(unk_token)], self._own_segmenter, fallback, do_lower_case
        )
        if cut_vocabulary_words:
            self._splitter = cutting_its_words(self._splitter, special)
        self._tokenizer = _backend(vocabulary, str(unk_token), str(cls_token), str(sep_token))
        self.cache: dict[bool, TextReader] = {}  # fingerprints of datasets leave out what is called so
        kwargs.pop(SIZE, None)
        check_numbers(model_max_length=kwargs.setdefault("model_max_length", 512))
        super().__init__(
            fallback=fallback,
            do_lower_case=do_lower_case,
            cut_vocabulary_words=cut_vocabulary_words,
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

    def unreachable_tokens(self) -> tuple[str, ...]:
        """Tokens of the vocabulary that no text becomes; see ``nlpkit.wobert.words.reachability``."""
        return unreachable_tokens(self._splitter, self.added_tokens_encoder)

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        added: int = super()._add_tokens(new_tokens, special_tokens)
        self.cache = {}
        return added

    def _reader(self, split_special_tokens: bool) -> TextReader:
        """Made when a text is read, so that adding tokens one by one makes it once."""
        readers = self.cache
        if split_special_tokens not in readers:
            readers[split_special_tokens] = TextReader(
                self._splitter,
                [
                    AddedTokenRule(
                        token.content, number, token.lstrip, token.rstrip, token.single_word, token.normalized
                    )
                    for number, token in self.added_tokens_decoder.items()
                    if not (split_special_tokens and token.special)
                ],
            )
        return readers[split_special_tokens]

    def _get_padding_truncation_strategies(
        self, padding: Any = False, truncation: Any = None, max_length: Any = None, pad_to_multiple_of: Any = None,
        verbose: bool = True, **kwargs: Any,
    ) -> Any:  # fmt: skip
        # Every call, `encode` and `pad` come here first, and transformers calculates with what it is given.
        check_numbers(
            max_length=max_length, pad_to_multiple_of=pad_to_multiple_of, model_max_length=self.model_max_length
        )
        return super()._get_padding_truncation_strategies(
            padding, truncation, max_length, pad_to_multiple_of, verbose, **kwargs
        )

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
        check_numbers(least=0, stride=stride)
        split_special = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        text_reader = self._reader(split_special)
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
            try:
                encodings = [
                    layout.row([read(reader, part, return_offsets_mapping) for part in parts]) for parts in batch
                ]
            except UnicodeEncodeError as error:
                raise not_unicode(batch, error, are_the_users=False) from error
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
