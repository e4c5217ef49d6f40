"""``nlpkit parse``: sentences to dependency or constituency trees by perturbed masking, and scores on treebanks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.files import whole_file, whole_folder, write_json
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.parses import Parse
    from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
    from nlpkit.perturbed_masking.treebanks.evaluation import Report
    from nlpkit.perturbed_masking.treebanks.sentences import Sentence

Decoder = Callable[..., Any]

_DEPENDENCIES, _CONSTITUENTS = ("eisner", "edmonds"), ("mart", "top_down", "cky", "leaning_cky")
_PICTURES = ("svg", "heatmap", "heatmap-png")
_FORMATS = ("conllu", "brackets", "json", "tree", *_PICTURES)


@dataclass(frozen=True)
class Terms:
    """How a treebank is scored.

    Args:
        punctuation: ``"counted"``, ``"unscored"`` or ``"removed"``.
        max_words: longer sentences are left out.
        gold_root: parsers are told the root.
        faithful: baselines as published.
    """

    punctuation: str = "counted"
    max_words: int | None = None
    gold_root: bool = False
    faithful: bool = False

    def admit(self, words: int) -> bool:
        """Whether a sentence of this many words is scored."""
        return 0 < words <= (self.max_words or words)


def parse(
    texts: Texts = None,
    model: Model = "wobert-mini-zh",
    decoder: Annotated[
        str,
        typer.Option(help="eisner or edmonds for dependencies; mart, top_down, cky or leaning_cky for constituents."),
    ] = "eisner",
    write: Annotated[
        str | None,
        typer.Option(
            "--format", help="conllu, brackets, json, tree (drawn in characters), svg, heatmap, heatmap-png."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write (pictures: folder; --evaluate: JSON).")] = None,
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
    layer: Annotated[int, typer.Option(help="Hidden layer to compare, from 1; -1 is the last.")] = -1,
    distance: Annotated[str, typer.Option(help="euclidean, cosine, probability or jensen_shannon.")] = "euclidean",
    units: Annotated[str, typer.Option(help="What lines of text are cut into: characters, or tokens.")] = "characters",
    overlong: Annotated[bool, typer.Option("--split", help="Handle what is over the model's limit in parts.")] = False,
    bf16: Annotated[bool, typer.Option(help="Multiply in bf16, where the processor can.")] = False,
    file: TextFile = None,
) -> None:
    """Parse sentences with a masked language model that was never taught grammar."""
    from nlpkit.perturbed_masking import Measure, PerturbedMasking, report_table

    decode = choose_decoder(decoder, faithful)
    terms = Terms(punctuation, max_words, use_gold_root, faithful)
    if evaluate is not None:
        check_evaluation(decoder, terms, refused={"the texts": texts, "--file": file, "--format": write})
    else:
        write = check_format(decoder, write, output)
        if terms != Terms(faithful=faithful):
            raise ValueError("--punctuation, --max-words and --gold-root are for --evaluate; give it a treebank")
    masking = PerturbedMasking.from_pretrained(
        find_model(model),
        measure=Measure(layer, distance),  # type: ignore[arg-type]
        units=units,  # type: ignore[arg-type]
        overlong="split" if overlong else "refuse",
        bf16=bf16,
    )
    if evaluate is not None:
        score = score_dependencies if decoder in _DEPENDENCIES else score_constituents
        report = score(masking, evaluate, decoder, decode, terms)
        typer.echo(report_table(report))
        if output is not None:
            write_json(output, report)
        return
    parses = parse_all(masking, read_sentences(texts, file, conllu, words), decode)
    if write in _PICTURES and output is not None:
        write_pictures(parses, write, output)
    else:
        write_lines((write_parse(one, str(write)) for one in parses), output)


def choose_decoder(name: str, faithful: bool) -> Decoder:
    """The function of a matrix that ``--decoder`` and ``--faithful`` mean.

    Raises:
        ValueError: no such decoder, or it has no published form.
    """
    from nlpkit.perturbed_masking.trees.decoders import named_decoders

    decoders = named_decoders("dependencies") | named_decoders("constituents")
    if name not in decoders:
        raise ValueError(f"--decoder {name} is unknown; use {', '.join(decoders)}")
    if faithful and name in ("top_down", "cky", "leaning_cky"):
        raise ValueError(f"--faithful: {name} was never published; use eisner, edmonds or mart")
    return partial(decoders[name], faithful=True) if faithful else decoders[name]


def check_format(decoder: str, write: str | None, output: Path | None) -> str:
    """The form to write, by default CoNLL-U for dependencies and brackets for constituents.

    Raises:
        ValueError: no such form, it cannot hold the trees, or there is no folder for its pictures.
    """
    dependencies = decoder in _DEPENDENCIES
    if write is None:
        return "conllu" if dependencies else "brackets"
    if write not in _FORMATS:
        raise ValueError(f"--format {write} is unknown; use {', '.join(_FORMATS)}")
    if write == ("brackets" if dependencies else "conllu"):
        kind, other = ("dependencies", "conllu") if dependencies else ("constituents", "brackets")
        raise ValueError(f"--format {write} cannot hold the {kind} of {decoder}; use {other}, json, tree or svg")
    if write in _PICTURES and output is None:
        raise ValueError(f"--format {write} draws one file per sentence; give --output FOLDER")
    return write


def check_evaluation(decoder: str, terms: Terms, refused: Mapping[str, object]) -> None:
    """Refuse options that do not go with ``--evaluate``, before a model is loaded.

    Raises:
        ValueError: they do not; the message says which would.
    """
    for option, value in refused.items():
        if value:
            raise ValueError(f"--evaluate parses the treebank's own sentences and prints scores; leave {option} out")
    if terms.punctuation not in ("counted", "unscored", "removed"):
        raise ValueError(f"--punctuation {terms.punctuation} is unknown; use counted, unscored or removed")
    if decoder in _CONSTITUENTS and terms.punctuation == "unscored":
        raise ValueError("--punctuation unscored is for dependencies; constituents have it counted or removed")
    if decoder in _CONSTITUENTS and terms.gold_root:
        raise ValueError(f"--gold-root is for dependencies; the constituents of {decoder} have no root")


def read_sentences(texts: list[str] | None, file: Path | None, conllu: bool, words: bool) -> Iterator[str | Sentence]:
    """Sentences of the input: texts, blank ones included, or sentences whose words are given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8, or malformed CoNLL-U; the message names the line.
    """
    from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
    from nlpkit.perturbed_masking.treebanks.sentences import Sentence

    named_so = file is not None and any(suffix.lower() in (".conllu", ".conll") for suffix in file.suffixes)
    if conllu or named_so:
        yield from read_conllu(read_texts(texts, file) if file is None or texts else file)
        return
    for line in read_texts(texts, file):
        yield Sentence.of(line.split()) if words and line.strip() else line


def parse_all(
    masking: PerturbedMasking, sentences: Iterable[str | Sentence], decode: Decoder
) -> Iterator[Parse | None]:
    """Parse sentences one by one, in bounded memory; ``None`` for each in which the tokenizer finds no unit."""
    from nlpkit.perturbed_masking import Parse, Sentence

    for units, matrices in masking.iter_measures(sentences):
        sentence = units.sentence
        if not isinstance(sentence, Sentence):
            sentence = Sentence.in_text(str(sentence), units.spans or ())
        yield Parse(sentence, matrices[0], decode(matrices[0])) if sentence.words else None


def write_parse(one: Parse | None, write: str) -> str:
    """A parse in the form of ``--format``, without the last line end.

    What takes several lines, CoNLL-U and drawings, ends with a blank line; without any word, it is that line alone.
    """
    if one is None:
        return json.dumps({"words": []}) if write == "json" else ""
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


def write_pictures(parses: Iterable[Parse | None], write: str, folder: Path) -> None:
    """Write one picture per sentence, ``0001.svg`` and so on; numbers of sentences without words are left out."""
    from nlpkit.perturbed_masking import save_heat_map

    with whole_folder(folder) as draft:
        for number, one in enumerate(parses, start=1):
            if one is None:
                continue
            path = draft / f"{number:04}{'.png' if write == 'heatmap-png' else '.svg'}"
            if write == "svg":
                path.write_text(one.svg(), "utf-8")
            else:
                save_heat_map(one.impact, one.sentence.forms, path)


def score_dependencies(masking: PerturbedMasking, treebank: Path, name: str, decode: Decoder, terms: Terms) -> Report:
    """Parse the words of a CoNLL-U treebank and compare."""
    from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
    from nlpkit.perturbed_masking.treebanks.evaluation import evaluate_dependencies, gold_root, without_punctuation

    remove = terms.punctuation == "removed"
    gold = [without_punctuation(sentence) if remove else sentence for sentence in read_conllu(treebank)]
    gold = [sentence for sentence in gold if terms.admit(len(sentence.words))]
    refuse_nothing(gold, treebank)
    roots = [gold_root(sentence) if terms.gold_root else None for sentence in gold]
    matrices = masking.iter_impact(gold)
    heads = [decode(matrix, root=root) for matrix, root in zip(matrices, roots, strict=True)]
    return evaluate_dependencies(
        gold,
        {name: heads},
        given_root=terms.gold_root,
        faithful=terms.faithful,
        score_punctuation=terms.punctuation == "counted",
    )


def score_constituents(masking: PerturbedMasking, treebank: Path, name: str, decode: Decoder, terms: Terms) -> Report:
    """Parse the words of a treebank of Penn brackets and compare."""
    from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS, read_brackets
    from nlpkit.perturbed_masking.treebanks.evaluation import evaluate_constituents

    dropped = PUNCTUATION_TAGS if terms.punctuation == "removed" else ()
    gold = [one for one in read_brackets(treebank, drop_tags=dropped) if terms.admit(len(one.words))]
    refuse_nothing(gold, treebank)
    trees = [decode(matrix) for matrix in masking.iter_impact([list(one.words) for one in gold])]
    return evaluate_constituents(gold, {name: trees})


def refuse_nothing(gold: Sequence[object], treebank: Path) -> None:
    """Refuse to score no sentence at all.

    Raises:
        ValueError: the treebank is empty, or every sentence was left out.
    """
    if not gold:
        raise ValueError(f"{treebank} holds no sentence to score, or none of at most --max-words words")
