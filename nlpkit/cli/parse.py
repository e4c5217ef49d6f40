"""``nlpkit parse``: sentences to dependency or constituency trees by perturbed masking, and scores on treebanks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_given_lines, read_texts
from nlpkit.cli.records import TextColumn
from nlpkit.cli.treebank_scores import Terms, check_evaluation, score_constituents, score_dependencies
from nlpkit.files import whole_file, whole_folder, write_json
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.parses import Parse
    from nlpkit.perturbed_masking.treebanks.sentences import Sentence

_DEPENDENCIES = ("leaning_eisner", "eisner", "edmonds")
_CONSTITUENTS = ("leaning_cky", "cky", "mart", "top_down", "distortion")
_PUBLISHED = ("eisner", "edmonds", "mart")
_HEAT_MAPS = ("heatmap", "heatmap-png")
_PICTURES = ("svg", *_HEAT_MAPS)
_FORMATS = ("conllu", "brackets", "json", "tree", *_PICTURES)


def parse(
    texts: Texts = None,
    model: Model = "wobert-mini-zh",
    decoder: Annotated[
        str,
        typer.Option(
            help="leaning_eisner, eisner or edmonds for dependencies; leaning_cky, cky, mart, top_down or distortion "
            "for constituents. The first of each is best."
        ),
    ] = "leaning_eisner",
    write: Annotated[
        str | None,
        typer.Option(
            "--format", help="conllu, brackets, json, tree (drawn in characters), svg, heatmap, heatmap-png."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write (pictures: folder; --evaluate: JSON).")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Draw all sentences on one page, to be opened in a browser: trees, brackets, impact."),
    ] = None,
    gold: Annotated[
        bool, typer.Option("--gold", help="Drawings: colour arcs by the heads that the CoNLL-U input has.")
    ] = False,
    conllu: Annotated[bool, typer.Option(help="The input is CoNLL-U, whatever its name.")] = False,
    words: Annotated[bool, typer.Option(help="The words of a line are separated by blanks.")] = False,
    evaluate: Annotated[
        Path | None,
        typer.Option(help="Score on this treebank: CoNLL-U for dependencies, Penn brackets for constituents."),
    ] = None,
    punctuation: Annotated[str, typer.Option(help="With --evaluate: counted, unscored or removed.")] = "counted",
    max_words: Annotated[int | None, typer.Option(min=1, help="With --evaluate: leave longer sentences out.")] = None,
    use_gold_root: Annotated[
        bool, typer.Option("--gold-root", help="With --evaluate: tell parsers the root.")
    ] = False,
    faithful: Annotated[bool, typer.Option(help="Decode as the published code does, quirks included.")] = False,
    marks: Annotated[
        str | None, typer.Option(help="Dependencies: attach punctuation to the root (root), or parse it (words).")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Hidden layer to compare, from 1; -1 is the last. Without it, all layers vote.")
    ] = None,
    distance: Annotated[str, typer.Option(help="euclidean, cosine, probability or jensen_shannon.")] = "euclidean",
    units: Annotated[str, typer.Option(help="What lines of text are cut into: characters, or tokens.")] = "characters",
    overlong: Annotated[bool, typer.Option("--split", help="Handle what is over the model's limit in parts.")] = False,
    bf16: Annotated[bool, typer.Option(help="Multiply in bf16, where the processor can.")] = False,
    file: TextFile = None,
    text: TextColumn = None,
) -> None:
    """Parse sentences with a masked language model that was never taught grammar.

    Expect little of it: dependencies are hardly better than a chain of words with marks on its root, as --evaluate
    shows beside them; constituents of a 12-layer model are better than branching to the right.
    """
    from nlpkit.perturbed_masking import Measure, PerturbedMasking, report_table, save_page

    dependencies = decoder in _DEPENDENCIES
    check_decoder(decoder, faithful, marks)
    options: dict[str, object] = {"faithful": True} if faithful else {}
    if dependencies:
        options["marks"] = marks or ("words" if faithful else "root")
    terms = Terms(punctuation, max_words, use_gold_root, faithful)
    if evaluate is not None:
        refused: dict[str, object] = {"the texts": texts, "--file": file, "--text": text}
        refused |= {"--format": write, "--html": html, "--gold": gold}
        check_evaluation(dependencies, decoder, terms, refused)
    else:
        write = check_format(decoder, write, output, html)
        if gold and (not dependencies or (html is None and write != "svg")):
            raise ValueError("--gold colours the arcs of drawings; give --html or --format svg, and dependencies")
        if terms != Terms(faithful=faithful):
            raise ValueError("--punctuation, --max-words and --gold-root are for --evaluate; give it a treebank")
    sentences = iter(()) if evaluate is not None else read_sentences(texts, file, conllu, words, text)
    chosen = layer is not None or distance != "euclidean" or faithful
    masking = PerturbedMasking.from_pretrained(
        find_model(model),
        measure=Measure(-1 if layer is None else layer, distance) if chosen else None,  # type: ignore[arg-type]
        units=units,  # type: ignore[arg-type]
        overlong="split" if overlong else "refuse",
        bf16=bf16,
    )
    if evaluate is not None:
        score = score_dependencies if dependencies else score_constituents
        report = score(masking, evaluate, decoder, terms, options)
        typer.echo(report_table(report))
        if output is not None:
            write_json(output, report)
        return
    parses = masking.iter_parses(sentences, decoder, **options)
    if html is not None:
        save_page((one for one in parses if one is not None), html, gold=gold)
    elif write in _PICTURES and output is not None:
        write_pictures(parses, write, output, gold)
    else:
        write_lines((write_parse(one, str(write), dependencies) for one in parses), output)


def check_decoder(name: str, faithful: bool, marks: str | None) -> None:
    """Refuse what ``--decoder`` cannot do.

    Raises:
        ValueError: no such decoder; it has no published form; or marks are nothing to it.
    """
    if name not in (*_DEPENDENCIES, *_CONSTITUENTS):
        raise ValueError(f"--decoder {name} is unknown; use {', '.join((*_DEPENDENCIES, *_CONSTITUENTS))}")
    if faithful and name not in _PUBLISHED:
        raise ValueError(f"--faithful: {name} was never published; use {', '.join(_PUBLISHED)}")
    if marks is not None and name in _CONSTITUENTS:
        raise ValueError(f"--marks is for dependencies; the constituents of {name} have no root to attach them to")
    if marks not in (None, "root", "words"):
        raise ValueError(f"--marks {marks} is unknown; use root or words")


def check_format(decoder: str, write: str | None, output: Path | None, html: Path | None = None) -> str:
    """The form to write, by default CoNLL-U for dependencies and brackets for constituents.

    Raises:
        ValueError: no such form, it cannot hold the trees, there is no folder for its pictures, or a page is asked
            for as well.
    """
    dependencies = decoder in _DEPENDENCIES
    if html is not None and (write or output):
        raise ValueError(f"--html {html} draws all on one page; leave --format and --output out")
    if write is None:
        return "conllu" if dependencies else "brackets"
    if write not in _FORMATS:
        raise ValueError(f"--format {write} is unknown; use {', '.join(_FORMATS)}")
    if write == ("brackets" if dependencies else "conllu"):
        kind, other = ("dependencies", "conllu") if dependencies else ("constituents", "brackets")
        raise ValueError(f"--format {write} cannot hold the {kind} of {decoder}; use {other}, json, tree or svg")
    if write in _PICTURES and output is None:
        raise ValueError(f"--format {write} draws one file per sentence; give --output FOLDER")
    if write in _HEAT_MAPS and decoder == "distortion":
        raise ValueError(f"--format {write} draws impact, which --decoder distortion does not measure; use svg")
    return write


def read_sentences(
    texts: list[str] | None, file: Path | None, conllu: bool, words: bool, column: str | None = None
) -> Iterator[str | Sentence]:
    """Sentences of the input: texts, blank ones included, or sentences whose words are given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8, or malformed CoNLL-U; the message names the line.
    """
    from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
    from nlpkit.perturbed_masking.treebanks.sentences import Sentence

    named_so = file is not None and any(suffix.lower() in (".conllu", ".conll") for suffix in file.suffixes)
    if conllu or named_so:
        if column is not None:
            raise ValueError(f"text={column} names a column of a table, and the input is CoNLL-U; leave it out")
        return read_conllu(read_given_lines(texts, file) if file is None or texts else file)
    lines = read_texts(texts, file, column)
    return (Sentence.of(line.split()) if words and line.strip() else line for line in lines)


def write_parse(one: Parse | None, write: str, dependencies: bool) -> str:
    """A parse in the form of ``--format``, without the last line end.

    What takes several lines, CoNLL-U and drawings, ends with a blank line; without any word, it is that line alone.
    """
    if one is None:
        empty: dict[str, Any] = {"heads": []} if dependencies else {"brackets": "", "spans": []}
        return json.dumps({"words": []} | empty) if write == "json" else ""
    if write == "tree":
        return f"{one.drawing()}\n"
    return {"conllu": one.conllu, "brackets": one.brackets, "json": one.json}[write]()


def write_lines(items: Iterable[str], output: Path | None) -> None:
    """Write items to standard output as they come, or into a file that appears when it is whole."""
    if output is None:
        for item in items:
            typer.echo(item)
        return
    with whole_file(output) as draft, draft.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(f"{item}\n" for item in items)


def write_pictures(parses: Iterable[Parse | None], write: str, folder: Path, gold: bool) -> None:
    """Write one picture per sentence, ``0001.svg`` and so on; numbers of sentences without words are left out."""
    from nlpkit.perturbed_masking import save_heat_map

    with whole_folder(folder) as draft:
        for number, one in enumerate(parses, start=1):
            if one is None:
                continue
            path = draft / f"{number:04}{'.png' if write == 'heatmap-png' else '.svg'}"
            if write == "svg":
                path.write_text(one.svg(gold=gold), "utf-8")
            elif one.impact is not None:
                save_heat_map(one.impact, one.sentence.forms, path)
        if not any(draft.iterdir()):
            raise ValueError("there is no parse to draw; give sentences with words")
