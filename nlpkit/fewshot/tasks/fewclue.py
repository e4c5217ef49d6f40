"""The nine tasks of FewCLUE.

Source: FewCLUE: A Chinese Few-shot Learning Evaluation Benchmark (arXiv 2107.07498), github.com/CLUEbenchmark/FewCLUE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlpkit.fewshot.tasks.task import FewShotTask, Record, text_of, value_of
from nlpkit.text_files import read_records

#: Names of the tasks, which are those of their folders, in the order of the published table.
FEWCLUE = ("eprstmt", "csldcp", "tnews", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc")

#: What stands in chid's texts where an idiom was taken out.
IDIOM_SLOT = "#idiom#"


def fewclue_task(name: str, data: str | Path) -> FewShotTask:
    """A task of FewCLUE.

    Args:
        name: one of ``FEWCLUE``.
        data: the folder that holds the tasks' folders; the labels of csldcp, tnews and iflytek are read there.

    Returns:
        The task. Its text fields have the files' names; cluewsc has ``text``, ``marked`` (``text`` with ``_`` around
        the noun and ``[ ]`` around the pronoun), ``span1`` (the noun) and ``span2`` (the pronoun), and csl's
        ``keyword`` is the list joined by 、.

    Raises:
        ValueError: there is no such task.
        FileNotFoundError: the folder lacks the file that lists the labels.

    Example:
        >>> fewclue_task("bustm", "no/folder/needed").text_fields
        ('sentence1', 'sentence2')
    """
    if name not in FEWCLUE:
        raise ValueError(f"FewCLUE has no task {name!r}; it has {', '.join(FEWCLUE)}")
    folder = Path(data) / name
    if name == "eprstmt":
        return FewShotTask(name, ("sentence",), ("Negative", "Positive"))
    if name == "csldcp":
        return _task_with_listed_labels(name, ("content",), folder / "labels.json", "short")
    if name == "tnews":
        return _task_with_listed_labels(
            name, ("sentence", "keywords"), folder / "label_index2en2zh.json", "label_zh", read_fields=_tnews_fields
        )
    if name == "iflytek":
        return _task_with_listed_labels(name, ("sentence",), folder / "labels.json", "short")
    if name == "ocnli":
        return FewShotTask(name, ("sentence1", "sentence2"), ("entailment", "neutral", "contradiction"))
    if name == "bustm":
        return FewShotTask(name, ("sentence1", "sentence2"), ("0", "1"))
    if name == "csl":
        return FewShotTask(name, ("abst", "keyword"), ("0", "1"), read_fields=_csl_fields)
    if name == "chid":
        return FewShotTask(
            name,
            ("content", "before", "after"),
            tuple("0123456"),
            read_fields=_chid_fields,
            label_key="answer",
            read_candidates=_chid_candidates,
        )
    return FewShotTask(name, ("text", "marked", "span1", "span2"), ("false", "true"), read_fields=_cluewsc_fields)


def _task_with_listed_labels(
    name: str, text_fields: tuple[str, ...], listing: Path, name_key: str, **options: Any
) -> FewShotTask:
    if not listing.is_file():
        raise FileNotFoundError(
            f"{name} needs {listing}: JSON lines with 'label' and {name_key!r}, which is a short name of the label"
        )
    label_names = {}
    for number, record in read_records(listing):
        try:
            label_names[text_of(record, "label")] = text_of(record, name_key)
        except ValueError as error:
            raise ValueError(f"{listing}, line {number}: {error}") from error
    return FewShotTask(name, text_fields, tuple(label_names), label_names=label_names, **options)


def _tnews_fields(record: Record) -> dict[str, str]:
    # The leaderboard's test file has no keywords, and most headlines elsewhere have an empty text there.
    keywords = text_of(record, "keywords") if "keywords" in record else ""
    return {"sentence": text_of(record, "sentence"), "keywords": keywords}


def _csl_fields(record: Record) -> dict[str, str]:
    keywords = value_of(record, "keyword")
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
        raise ValueError(f"field 'keyword' must be a list of texts; got {keywords!r}")
    return {"abst": text_of(record, "abst"), "keyword": "、".join(keywords)}


def _chid_fields(record: Record) -> dict[str, str]:
    content = text_of(record, "content")
    if content.count(IDIOM_SLOT) != 1:
        raise ValueError(f"field 'content' must hold {IDIOM_SLOT} once; it holds it {content.count(IDIOM_SLOT)} times")
    before, after = content.split(IDIOM_SLOT)
    return {"content": content, "before": before, "after": after}


def _chid_candidates(record: Record) -> tuple[str, ...]:
    candidates = value_of(record, "candidates")
    if not isinstance(candidates, list) or not all(isinstance(idiom, str) for idiom in candidates):
        raise ValueError(f"field 'candidates' must be a list of idioms; got {candidates!r}")
    return tuple(candidates)


def _cluewsc_fields(record: Record) -> dict[str, str]:
    text, target = text_of(record, "text"), value_of(record, "target")
    spans = []
    for name in ("span1", "span2"):
        span, start = text_of(target, f"{name}_text"), int(value_of(target, f"{name}_index"))
        if text[start : start + len(span)] != span:
            raise ValueError(f"{name} {span!r} does not stand at character {start} of {text!r}")
        spans.append((start, span))
    (noun_start, noun), (pronoun_start, pronoun) = spans
    marks = [(noun_start, "_"), (noun_start + len(noun), "_")]
    marks += [(pronoun_start, "["), (pronoun_start + len(pronoun), "]")]
    marked = text
    for place, mark in sorted(marks, reverse=True):
        marked = marked[:place] + mark + marked[place:]
    return {"text": text, "marked": marked, "span1": noun, "span2": pronoun}
