"""Texts and models as all verbs take them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nlpkit.cli.inputs import read_texts

Call = Callable[..., str]
#: Each verb that reads texts, with what it needs besides them.
READERS = {
    "tokenize": [],
    "fill-mask": [],
    "classify": ["-p", "{text}很{mask}。", "-l", "good=好", "-l", "bad=不错"],
    "segment": ["--threshold", "0"],
    "parse": ["--format", "json"],
}


@pytest.mark.parametrize("verb", READERS)
def test_arguments_file_and_standard_input_are_the_same_to_every_verb(
    call: Call, small_model: str, tmp_path: Path, verb: str
) -> None:
    texts = ["酒店很[MASK]。", "今天天气很[MASK]。"]
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    options = [verb, "--model", small_model, *READERS[verb]]
    output = call(*options, *texts)
    assert output != ""
    assert output == call(*options, "--file", str(tmp_path / "texts.txt"))
    assert output == call(*options, stdin="\n".join(texts))
    assert output == call(*options, "-", stdin="\n".join(texts))


#: What each verb answers to a text without any word: one line, as CoNLL-U and drawings end with a blank one anyway.
OF_BLANKS = {
    "tokenize": '{"ids": [], "pieces": [], "offsets": []}',
    "fill-mask --json": '{"text": "", "fillings": []}',
    "fill-mask": "",
    "classify": "",
    "classify --json": '{"text": "", "label": null, "probabilities": {}}',
    "segment": "",
    "segment --json": "[]",
    "parse --format json": '{"words": [], "heads": []}',
    "parse --format json --words": '{"words": [], "heads": []}',
    "parse --decoder cky": "",
    "parse --format tree": "",
    "parse": "",
}


@pytest.mark.parametrize("command", OF_BLANKS)
def test_blank_texts_have_answers_in_their_places(call: Call, small_model: str, command: str) -> None:
    verb, *more = command.split()
    options = [verb, "--model", small_model, *([] if verb == "parse" else READERS[verb]), *more]
    first, last = "酒店很[MASK]。", "今天天气很[MASK]。"
    blank = f"{OF_BLANKS[command]}\n"
    found = call(*options, stdin=f"{first}\n\n\n{last}\n\n")
    assert found == call(*options, first) + blank * 2 + call(*options, last) + blank


def test_pictures_are_numbered_as_the_texts_are(call: Call, small_model: str, tmp_path: Path) -> None:
    options = ["--model", small_model, "--format", "svg", "--output", str(tmp_path / "out")]
    call("parse", *options, stdin="酒店很好\n\n天气很好\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001.svg", "0003.svg"]


@pytest.mark.parametrize("verb", READERS)
def test_no_texts_have_no_answers(call: Call, small_model: str, tmp_path: Path, verb: str) -> None:
    (tmp_path / "empty.txt").touch()
    for more in ([], ["--calibrate"]) if verb == "classify" else ([],):
        options = [verb, "--model", small_model, *READERS[verb], *more]
        assert call(*options, "--file", str(tmp_path / "empty.txt")) == ""


@pytest.mark.parametrize("decoder", ["eisner", "cky"])
def test_a_treebank_without_sentences_is_named(refuse: Call, small_model: str, tmp_path: Path, decoder: str) -> None:
    (tmp_path / "empty").touch()
    options = ["parse", "--model", small_model, "--decoder", decoder, "--evaluate", str(tmp_path / "empty")]
    assert "empty holds no sentence to score" in refuse(*options)


@pytest.mark.parametrize("verb", READERS)
def test_what_cannot_be_read_is_one_line_for_every_verb(
    refuse: Call, small_model: str, tmp_path: Path, verb: str
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("酒店很[MASK]\n".encode() + "酒店".encode("gb18030") + b"\n")
    options = [verb, "--model", small_model, *READERS[verb]]
    assert "texts.txt, line 2 is not UTF-8" in refuse(*options, "--file", str(path))
    assert "there is no file /nowhere.txt" in refuse(*options, "--file", "/nowhere.txt")
    assert "give texts or --file, not both; got '很好'" in refuse(*options, "很好", "--file", str(path))
    assert f"to read texts from it, give --file {path}" in refuse(*options, str(path))


@pytest.mark.parametrize("verb", [*READERS, "profile", "probe"])
def test_a_model_that_is_nowhere_is_one_line_for_every_verb(refuse: Call, verb: str) -> None:
    texts = ["很[MASK]"] if verb in READERS else []
    option = ["--model"] if verb in READERS else []
    error = refuse(verb, *texts, *option, "./no/such/model", *READERS.get(verb, []))
    assert error == "nlpkit: there is no folder ./no/such/model"


def test_a_shipped_model_is_found_by_its_name(call: Call) -> None:
    assert "酒店" in call("tokenize", "酒店很好", "--model", "wobert-mini-zh")


def test_texts_that_only_look_like_paths_are_texts() -> None:
    texts = ["他说/她说", "3.14", "a" * 5000 + "/b", "\0/b", "README"]
    assert list(read_texts(texts)) == texts


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        ("# sent_id = 1\n", "CoNLL-U"),
        ("1\t今天\t_\tNOUN\t_\t_\t2\tnsubj\t_\t_\n", "CoNLL-U"),
        ("1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_\n", "CoNLL-U"),
        ("( (S (NP (DT The) (NN cat)) (VP (VBD sat))) )\n", "trees in brackets"),
        ("(ROOT\n", "trees in brackets"),
        ("(S (NP (NN x)) (VP (VB y)))\n", "trees in brackets"),
        ("(A) 今天天气不错\n", None),
        ("(IP) is an address (S) too\n", None),
        ("# 今天天气不错\n", None),
        ("1\t今天\n", None),
    ],
)
def test_treebanks_are_no_texts(tmp_path: Path, beginning: str, kind: str | None) -> None:
    (tmp_path / "x.txt").write_text("\n" + beginning + "今天\n", "utf-8")
    if kind is None:
        assert list(read_texts(None, tmp_path / "x.txt"))[1] == beginning.rstrip("\n")
    else:
        with pytest.raises(ValueError, match=rf"x\.txt is no text per line, but {kind}"):
            list(read_texts(None, tmp_path / "x.txt"))
    assert list(read_texts([beginning])) == [beginning]


def test_a_dash_among_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="- reads standard input only where it is the one text"):
        read_texts(["好", "-"])


def test_a_closed_standard_input_is_no_fault_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python has it where there is none
    with pytest.raises(ValueError, match="standard input is closed; give texts as arguments, or --file"):
        read_texts(None)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("verb", READERS)
def test_every_verb_reads_tables_by_column(
    call: Call, refuse: Call, small_model: str, tmp_path: Path, verb: str, kind: str
) -> None:
    texts = ["酒店, 很[MASK]。", "今天天气很[MASK]。"]
    quoted = [f'"{text}"' for text in texts]
    content = {
        "csv": "id,review\n" + "".join(f"{number},{text}\n" for number, text in enumerate(quoted)),
        "tsv": "id\treview\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts)),
        "jsonl": "".join(f'{{"id": "{number}", "review": {text}}}\n' for number, text in enumerate(quoted)),
    }
    file = tmp_path / f"reviews.{kind}"
    file.write_text(content[kind], "utf-8")
    options = [verb, "--model", small_model, *READERS[verb]]
    assert call(*options, "--file", str(file), "--text", "review") == call(*options, *texts)
    assert f"reviews.{kind}, line {1 if kind == 'jsonl' else 2} has no column 'text'; name that of the text by " in (
        message := refuse(*options, "--file", str(file))
    )
    assert message.endswith("--text, of 'id', 'review'")
    assert "give texts or --file, not both" in refuse(*options, "好", "--file", str(file))
    message = refuse(*options, "好", "--text", "review")
    assert message == "nlpkit: --text review names a column; give --file with JSON lines, .csv or .tsv"


def test_a_column_called_text_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("text\n酒店\n", "utf-8")
    (tmp_path / "two.tsv").write_text("text\tid\n酒店\t1\n", "utf-8")
    (tmp_path / "blank.jsonl").write_text('\n{"id": 1, "text": null}\n', "utf-8")
    assert list(read_texts(None, tmp_path / "one.csv")) == list(read_texts(None, tmp_path / "two.tsv")) == ["酒店"]
    assert list(read_texts(None, tmp_path / "blank.jsonl")) == ["", ""]


@pytest.mark.parametrize("verb", ["classify", "entities", "fill-mask", "generate", "link", "parse", "probe"])
def test_a_folder_without_a_model_is_named(refuse: Call, tmp_path: Path, verb: str) -> None:
    options = {"classify": ["-p", "{text}{mask}", "-l", "a=好", "-l", "b=坏"], "probe": []}.get(verb, [])
    model = [str(tmp_path)] if verb == "probe" else ["-m", str(tmp_path), "很[MASK]"]
    assert f"{tmp_path} holds no config.json; give the folder of a transformers model" in refuse(
        verb, *options, *model
    )
    told = refuse("tokenize", "-m", str(tmp_path), "好")
    assert told.endswith(f"no vocabulary in {tmp_path}; give a folder with vocab.txt, or --vocabulary FILE")


def test_the_only_column_of_a_table_is_named(refuse: Call, small_model: str, tmp_path: Path) -> None:
    """Or the first text of a file without a header would be lost."""
    (tmp_path / "one.csv").write_text("酒店很好\n空调坏了\n", "utf-8")
    assert "one.csv, line 2 has no column 'text'; name that of the text by --text, of '酒店很好'" in refuse(
        "tokenize", "-m", small_model, "--file", str(tmp_path / "one.csv")
    )
