"""Texts without labels, on which a model's preference for some labels is measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from nlpkit.data.rows import read_rows
from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import Example, Sources, as_examples

#: Texts that calibrate reliably; measured on eprstmt, see docs/pet.md.
_ENOUGH_TEXTS = 64


def calibration_examples(texts: Sources, fields: Sequence[str], text: Columns = None) -> list[Example]:
    """Examples of texts, each of which stands for every field; few of them are warned of, to the caller's caller.

    Args:
        texts: in any form that ``as_examples`` reads.
        fields: names of the texts that an example needs.
        text: the column of the text, or of each field, where it has another name.

    Raises:
        ValueError: no texts, or as of ``as_examples``.

    Example:
        >>> [example.fields for example in calibration_examples(["", "N/A"], ["first", "second"])]
        [{'first': '', 'second': ''}, {'first': 'N/A', 'second': 'N/A'}]
    """
    rows = read_rows(texts)
    wide = [dict.fromkeys(fields, row) if isinstance(row, str) else row for row in rows.values]
    examples = as_examples(texts if rows.columns is not None else wide, fields, text)
    if not examples:
        raise ValueError("no texts to calibrate on; give unlabelled texts of the task")
    if not all(example.is_content_free for example in examples) and len(examples) < _ENOUGH_TEXTS:
        what = f"{len(examples)} texts, so that its predictions depend on which"
        what = "one text, so that this one gets every label alike" if len(examples) == 1 else what
        warnings.warn(f"calibrated on {what}; {_ENOUGH_TEXTS} or more tell more", stacklevel=3)
    return examples
