"""``nlpkit parse``: what it refuses, and what it writes with a small model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from nltk import Tree
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from nlpkit.cli.parse import check_decoder, check_format, parse, read_sentences, write_lines
from nlpkit.cli.treebank_scores import Terms, check_evaluation
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.decoders import named_decoders
from nlpkit.perturbed_masking.trees.dependencies import eisner
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Call = Callable[..., str]


@pytest.fixture(scope="module")
def model(small_vocabulary: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a word model with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **sizes)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def call(model: str) -> Call:
    """Run the verb with that model; its standard output."""
    app = typer.Typer()
    app.command()(parse)

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, [*arguments, "--model", model], input=stdin, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_texts_become_conllu_or_brackets(call: Call, tmp_path: Path) -> None:
    texts = ["酒店很好。", "", "今天天气不错"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    first, second = read_conllu(call("--file", str(tmp_path / "texts.txt")).split("\n"))
    assert (first.forms, second.forms) == (list("酒店很好。"), list("今天天气不错"))
    assert first.heads.count(0) == second.heads.count(0) == 1
    assert first.comments == ("# text = 酒店很好。",)
    lines = call("--decoder", "mart", stdin="\n".join(texts)).splitlines()
    assert ["".join(Tree.fromstring(line).leaves()) if line else "" for line in lines] == texts


def test_conllu_keeps_its_words_and_annotation(call: Call, tmp_path: Path) -> None:
    source = "# sent_id = 7\n1\t酒店\t_\tNOUN\t_\t_\t_\t_\t_\t_\n2\t好\t_\tADJ\t_\t_\t_\t_\t_\t_\n\n"
    (tmp_path / "a.conllu").write_text(source, "utf-8")
    output = call("--file", str(tmp_path / "a.conllu"))
    assert output == call("--conllu", stdin=source)
    (sentence,) = read_conllu(output.split("\n"))
    assert sentence.comments == ("# sent_id = 7",) and [word.upos for word in sentence.words] == ["NOUN", "ADJ"]
    assert sorted(sentence.heads)[0] == 0


def test_json_and_drawings_of_given_words(call: Call) -> None:
    row = json.loads(call("--words", "--format", "json", stdin="酒店 很 好\n"))
    assert row["words"] == ["酒店", "很", "好"] and len(row["heads"]) == 3
    blank, bracketed = (json.loads(call("--format", "json", *more, stdin="\n")) for more in ([], ["--decoder", "cky"]))
    assert (blank, bracketed) == ({"words": [], "heads": []}, {"words": [], "brackets": "", "spans": []})
    drawing = call("--words", "--format", "tree", stdin="酒店 很 好\n酒店\n")
    assert drawing.count("酒店") == 2 and drawing.count("●") == 2 and "\n\n" in drawing


def test_pictures_go_into_a_folder(call: Call, tmp_path: Path) -> None:
    for write, suffix in (("svg", "svg"), ("heatmap", "svg"), ("heatmap-png", "png")):
        call("--format", write, "--output", str(tmp_path / write), stdin="hello world\nlower cafe\n")
        assert sorted(path.name for path in (tmp_path / write).iterdir()) == [f"0001.{suffix}", f"0002.{suffix}"]


def test_evaluation_prints_the_parser_beside_the_baselines(call: Call, tmp_path: Path) -> None:
    line = "{}\t{}\t_\tX\t_\t_\t{}\t_\t_\t_\n"
    treebank = "".join(map(line.format, "123", ("酒店", "很", "好"), "330")) + "\n"
    (tmp_path / "gold.conllu").write_text(treebank * 3, "utf-8")
    table = call("--evaluate", str(tmp_path / "gold.conllu"), "--gold-root", "--output", str(tmp_path / "r.json"))
    assert [row.split("  ")[0] for row in table.splitlines()[1:]] == [
        "leaning_eisner",
        "right chain",
        "left chain",
        "right chain, marks on root",
        "random trees",
        "star",
    ]
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert report["right chain"]["UAS"] == [2 / 3, 2 / 3, 2 / 3]
    (tmp_path / "gold.mrg").write_text("(S (NN 酒店) (VP (RB 很) (JJ 好)))\n" * 2, "utf-8")
    table = call("--evaluate", str(tmp_path / "gold.mrg"), "--decoder", "cky", "--max-words", "3")
    baseline = next(row for row in table.splitlines() if row.startswith("right branching"))
    assert baseline.split()[2:] == ["100.00", "[100.0,", "100.0]"] * 4
    assert table.split("\n")[0].split("  ")[-1] == "sentence F1"


@pytest.mark.parametrize(
    ("decoder", "write", "message"),
    [
        ("eisner", "pdf", "--format pdf is unknown; use conllu, brackets"),
        ("eisner", "brackets", "--format brackets cannot hold the dependencies of eisner; use conllu"),
        ("cky", "conllu", "--format conllu cannot hold the constituents of cky; use brackets"),
        ("cky", "svg", "--format svg draws one file per sentence; give --output FOLDER"),
    ],
)
def test_forms_that_do_not_fit_are_refused(decoder: str, write: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_format(decoder, write, None)
    assert (check_format("edmonds", None, None), check_format("mart", None, None)) == ("conllu", "brackets")


@pytest.mark.parametrize(
    ("decoder", "terms", "refused", "message"),
    [
        ("eisner", Terms(), {"--file": Path("a")}, "prints scores; leave --file out"),
        ("eisner", Terms("none"), {}, "--punctuation none is unknown; use counted, unscored or removed"),
        ("mart", Terms("unscored"), {}, "--punctuation unscored is for dependencies"),
        ("mart", Terms(gold_root=True), {}, "--gold-root is for dependencies; the constituents of mart have no root"),
    ],
)
def test_terms_that_do_not_fit_are_refused(
    decoder: str, terms: Terms, refused: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_evaluation(decoder == "eisner", decoder, terms, refused)


def test_decoders_have_names_and_some_a_published_form() -> None:
    for decoder in (*named_decoders("dependencies"), *named_decoders("constituents"), "distortion"):
        check_decoder(decoder, False, None)
    for decoder in ("eisner", "edmonds", "mart"):
        check_decoder(decoder, True, None)
    with pytest.raises(ValueError, match=r"--decoder best is unknown; use leaning_eisner, .*, top_down, distortion"):
        check_decoder("best", False, None)
    with pytest.raises(ValueError, match="--faithful: cky was never published; use eisner, edmonds, mart"):
        check_decoder("cky", True, None)
    with pytest.raises(ValueError, match="--marks is for dependencies; the constituents of cky"):
        check_decoder("cky", False, "root")
    with pytest.raises(ValueError, match="--marks low is unknown; use root or words"):
        check_decoder("eisner", False, "low")


def test_the_default_is_what_the_library_does_without_any_choice(call: Call, model: str) -> None:
    masking = PerturbedMasking.from_pretrained(model, device="cpu", show_progress=False)
    text = "酒店很好，今天天气不错。"
    assert json.loads(call("--format", "json", text))["heads"] == masking.dependencies([text])[0]
    brackets = call("--decoder", "leaning_cky", text).strip()
    assert brackets == masking.constituents([text])[0].brackets(text)
    last = PerturbedMasking.from_pretrained(model, device="cpu", measure=Measure(), show_progress=False)
    published = json.loads(call("--format", "json", "--decoder", "eisner", "--faithful", text))["heads"]
    assert published == eisner(last.impact([text])[0], faithful=True)
    words = json.loads(call("--format", "json", "--decoder", "eisner", "--marks", "words", "--layer", "-1", text))
    assert words["heads"] == eisner(last.impact([text])[0])


def test_the_page_and_pictures_show_gold_where_they_are_told(call: Call, tmp_path: Path) -> None:
    line = "{}\t{}\t_\tNOUN\t_\t_\t{}\tobj\t_\t_\n"
    (tmp_path / "a.conllu").write_text("".join(map(line.format, "123", ("酒店", "很", "好"), "230")) + "\n", "utf-8")
    file = ("--file", str(tmp_path / "a.conllu"))
    call(*file, "--html", str(tmp_path / "page.html"), "--gold")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<article>") == 1 and "#2a7f3e" in page
    call(*file, "--format", "svg", "--output", str(tmp_path / "pictures"))
    picture = (tmp_path / "pictures" / "0001.svg").read_text("utf-8")
    assert picture.count(">NOUN</text>") == 3 and "#2a7f3e" not in picture
    for more in (("--format", "json"), ("--decoder", "cky", "--html", str(tmp_path / "page.html"))):
        with pytest.raises(ValueError, match="--gold colours the arcs of drawings; give --html or --format svg"):
            call(*file, "--gold", *more)
    with pytest.raises(ValueError, match="draws all on one page; leave --format and --output out"):
        call(*file, "--html", str(tmp_path / "page.html"), "--format", "svg")
    with pytest.raises(ValueError, match="--format heatmap draws impact, which --decoder distortion does not measure"):
        call(*file, "--format", "heatmap", "--output", str(tmp_path / "maps"), "--decoder", "distortion")


def test_options_of_evaluation_need_a_treebank(call: Call) -> None:
    with pytest.raises(ValueError, match="are for --evaluate; give it a treebank"):
        call("--gold-root", stdin="a\n")


def test_input_is_texts_words_or_conllu(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("我 来\n \n你\n", "utf-8")
    assert list(read_sentences(None, tmp_path / "a.txt", conllu=False, words=False)) == ["我 来", " ", "你"]
    expected = [Sentence.of(["我", "来"]), " ", Sentence.of(["你"])]
    assert list(read_sentences(None, tmp_path / "a.txt", conllu=False, words=True)) == expected
    with pytest.raises(ValueError, match=r"a\.txt, line 1 has 1 columns"):
        list(read_sentences(None, tmp_path / "a.txt", conllu=True, words=False))


def test_an_interrupted_file_does_not_appear(tmp_path: Path) -> None:
    def items() -> Iterator[str]:
        yield "one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(items(), tmp_path / "out.txt")
    assert list(tmp_path.iterdir()) == []
    write_lines(iter(["one", "two"]), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text("utf-8") == "one\ntwo\n"


@pytest.mark.parametrize("drawing", ["--html page.html", "--format svg --output pictures"])
def test_nothing_is_not_drawn(refuse: Call, small_model: str, monkeypatch: Any, tmp_path: Path, drawing: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no parse to " in refuse("parse", "-m", small_model, *drawing.split(), stdin="\n")
    assert not list(tmp_path.iterdir())


def test_a_decoder_and_a_model_without_a_tokenizer_are_one_line(refuse: Call, tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path / "gpt2")
    BertForMaskedLM(
        BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    for verb in ("parse", "fill-mask"):
        assert "holds no tokenizer; save one there" in refuse(verb, "-m", str(tmp_path / "bert"), "很[MASK]")
    assert "gpt2 holds a GPT2LMHeadModel, which fills no masks" in refuse("parse", "-m", str(tmp_path / "gpt2"), "很")
