"""Batches for UniLM: pairs of texts to train and evaluate on, or sources to write targets for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from nlpkit.batches import refuse_no_rows
from nlpkit.seq2seq.pair_encoding import Overlong, PairEncoding


class UniLmCollator:
    """Make padded batches for ``UniLmForSequenceToSequence`` from rows of a source and a target.

    Args:
        tokenizer: the model's own.
        source: column of the texts to read.
        target: column of the texts to write. Where no row has one, a batch is made for ``generate``: sources, padded
            on the left.
        max_source_length: and the next two: as for ``PairEncoding``.
        max_target_length: likewise.
        overlong: likewise.
        pad_to_multiple_of: as for tokenizers.

    Note:
        The Trainer keeps columns called ``source`` and ``target``; for others give it
        ``remove_unused_columns=False``. ``generate`` takes batches with targets, too, as evaluation with
        ``predict_with_generate=True`` hands them to it: it goes by their sources alone.

    Example:
        >>> from nlpkit import WoBertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天气", "很", "好"]
        >>> collator = UniLmCollator(WoBertTokenizer({word: number for number, word in enumerate(words)}))
        >>> batch = collator([{"source": "天气很好", "target": "好"}])
        >>> {name: values.tolist() for name, values in batch.items()}  # doctest: +NORMALIZE_WHITESPACE
        {'input_ids': [[2, 5, 6, 7, 3, 7, 3]], 'attention_mask': [[1, 1, 1, 1, 1, 1, 1]],
         'token_type_ids': [[0, 0, 0, 0, 0, 1, 1]], 'labels': [[-100, -100, -100, -100, -100, 7, 3]]}
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        source: str = "source",
        target: str = "target",
        max_source_length: int | None = None,
        max_target_length: int = 64,
        overlong: Overlong = "refuse",
        pad_to_multiple_of: int | None = None,
    ) -> None:
        self.encoding = PairEncoding(
            tokenizer, max_source_length=max_source_length, max_target_length=max_target_length, overlong=overlong
        )
        self.tokenizer, self.source, self.target = tokenizer, source, target
        self.pad_to_multiple_of = pad_to_multiple_of

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> BatchEncoding:
        """Tokenize, join and pad.

        Args:
            examples: rows, all with a target or none.

        Returns:
            ``input_ids``, ``attention_mask`` and ``token_type_ids`` of shape ``(batch, length)``, and with targets
            ``labels``.

        Raises:
            ValueError: a row has no source, only some have a target, or a text is too long.
            TypeError: a text is no string.
        """
        refuse_no_rows(examples)
        sources = self.encoding.sources([self._source_of(number, row) for number, row in enumerate(examples)])
        given = [row.get(self.target) is not None for row in examples]
        if not any(given):
            return self._padded(sources, left=True)
        if not all(given):
            raise ValueError(f"row {given.index(False)} has no {self.target!r}, others have; give all or none")
        targets = self.encoding.targets([row[self.target] for row in examples])
        pairs = list(zip(sources, targets, strict=True))
        batch = self._padded([[*source, *target] for source, target in pairs], left=False)
        segments = [[0] * len(source) + [1] * len(target) for source, target in pairs]
        labels = [[-100] * len(source) + target for source, target in pairs]
        width = batch["input_ids"].shape[1]
        batch["token_type_ids"] = _pad(segments, 0, width, left=False)
        batch["labels"] = _pad(labels, -100, width, left=False)
        return batch

    def _source_of(self, number: int, row: Mapping[str, Any]) -> Any:
        if row.get(self.source) is None:
            raise ValueError(
                f"row {number} has no {self.source!r}, it has {', '.join(map(repr, row)) or 'nothing'}; name its "
                "column, source=...; a Trainer drops columns of other names, unless remove_unused_columns=False"
            )
        return row[self.source]

    def _padded(self, rows: list[list[int]], *, left: bool) -> BatchEncoding:
        width, steps = max(map(len, rows)), self.pad_to_multiple_of or 1
        width = -(-width // steps) * steps
        ids = _pad(rows, int(self.tokenizer.pad_token_id), width, left=left)
        mask = _pad([[1] * len(row) for row in rows], 0, width, left=left)
        return BatchEncoding({"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)})


def _pad(rows: list[list[int]], value: int, width: int, *, left: bool) -> Tensor:
    padding = [[value] * (width - len(row)) for row in rows]
    return torch.tensor([p + row if left else row + p for row, p in zip(rows, padding, strict=True)])
