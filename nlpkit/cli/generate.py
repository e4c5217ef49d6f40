"""``nlpkit generate``: texts for texts, by a UniLM or an encoder-decoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nlpkit.cli.inputs import TextFile, Texts, read_texts
from nlpkit.cli.records import holds_records, read_placed_records
from nlpkit.pretrained import open_config, open_tokenizer
from nlpkit.sources import find_model
from nlpkit.text_files import Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Batches that are read at a time, so that each holds sources of about the same length.
_BATCHES = 8


class Source(NamedTuple):
    """A text to write for, and the JSON object or the row that it came in, if any."""

    text: str
    record: dict[str, Any] | None


def generate(
    texts: Texts = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A folder or a repository on the Hub: a UniLM, T5, mT5 or BART.")
    ] = "",
    file: TextFile = None,
    text: Annotated[str, typer.Option(help="The source's name in JSON objects, .csv and .tsv.")] = "source",
    num_beams: Annotated[int, typer.Option("--beams", "-b", min=1, help="Of beam search; 1 is greedy.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest target, its end included.")] = 64,
    overlong: Annotated[
        str, typer.Option(help="What becomes of sources that are too long: refuse, or truncate.")
    ] = "refuse",
    batch_size: Annotated[int, typer.Option(min=1, help="Sources per batch.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text, as for those given so.")] = False,
) -> None:
    """Write a text for each one: a title, a summary, whatever the model was trained to; for blank ones nothing."""
    from nlpkit.seq2seq import generate_texts

    if not model:
        raise ValueError("give --model: no model that writes is shipped; nlpkit recipe title_generation trains one")
    if overlong not in ("refuse", "truncate"):
        raise ValueError(f"overlong={overlong} is unknown; use refuse or truncate")
    sources = read_sources(texts, file, text)
    folder = find_model(model)
    network, tokenizer = open_writer(folder), open_tokenizer(folder)
    while chunk := list(islice(sources, _BATCHES * batch_size)):
        written = generate_texts(
            network,
            tokenizer,
            [source.text for source in chunk],
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            overlong=overlong,  # type: ignore[arg-type]
            batch_size=batch_size,
        )
        for source, answer in zip(chunk, written, strict=True):
            record = {text: source.text} if source.record is None and as_json else source.record
            if record is None:
                typer.echo(answer)
            else:
                typer.echo(json.dumps({**record, "generated": answer}, ensure_ascii=False))


def open_writer(folder: str) -> PreTrainedModel:
    """A model that reads a text and writes another, on a GPU if there is one.

    Args:
        folder: as ``find_model`` gives it.

    Raises:
        ValueError: the model does not write, or only goes on with what it is given.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = open_config(folder)
    if not (config.is_encoder_decoder or config.model_type == "unilm"):
        raise ValueError(
            f"{folder} holds a {config.model_type}, which does not write a text for another: give a UniLM, as "
            "nlpkit recipe title_generation trains one of a BERT or WoBERT, or a T5, mT5 or BART"
        )
    kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_pretrained(folder, dtype="float32")
    return model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]


def read_sources(texts: list[str] | None, file: Path | None, column: str) -> Iterator[Source]:
    """The texts that the verb is given, blank ones included.

    Args:
        texts: arguments; a JSON object with the column is a record.
        file: of lines, each a text or such an object; JSON lines, or a table, by its name.
        column: of the text in records.

    Raises:
        ValueError: texts and a file are given, or a record has no such column; the message lists those there are.

    Example:
        >>> [source.text for source in read_sources(["酒店很好", '{"id": 7, "source": "房间"}'], None, "source")]
        ['酒店很好', '房间']
    """
    if file is not None and holds_records(file):
        return _of_records(read_placed_records(texts, file), column)
    return (_of_line(line, column) for line in read_texts(texts, file))


def _of_records(placed: Iterable[tuple[str, Record]], column: str) -> Iterator[Source]:
    for place, record in placed:
        if record and not isinstance(record.get(column), str):
            known = ", ".join(map(repr, record))
            wrong = f"has {record[column]!r} in the column {column!r}, which is no text" if column in record else ""
            missing = f"has no column {column!r}; name it by --text, of {known}"
            raise ValueError(f"{place} {wrong or missing}")
        yield Source(record.get(column, ""), record)


def _of_line(line: str, column: str) -> Source:
    try:
        found = json.loads(line) if line.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and isinstance(found.get(column), str):
        return Source(found[column], found)
    return Source(line, None)
