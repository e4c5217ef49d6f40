"""CoNLL-U: what is kept, and which line is to blame."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from nlpkit.perturbed_masking.treebanks.brackets import read_brackets
from nlpkit.perturbed_masking.treebanks.conllu import read_conllu, write_conllu
from nlpkit.perturbed_masking.treebanks.lines import TreebankError
from nlpkit.perturbed_masking.treebanks.sentences import Sentence, Word

CONLLU = """\
# sent_id = 1
# text = 别说了。
1-2\t别说\t_\t_\t_\t_\t_\t_\t_\t_
1\t别\t别\tADV\tRB\tPolarity=Neg\t2\tadvmod\t2:advmod\t_
2\t说\t说\tVERB\tVV\t_\t0\troot\t0:root\t_
2.1\t话\t话\tNOUN\tNN\t_\t_\t_\t2:obj\tCopyOf=2
3\t了\t了\tPART\tUH\t_\t2\tdiscourse:sp\t2:discourse:sp\tSpaceAfter=No
4\t。\t。\tPUNCT\t.\t_\t2\tpunct\t2:punct\t_

1\t#\t_\tSYM\t_\t_\t_\t_\t_\t_

"""


def test_a_file_read_and_written_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "in.conllu").write_text(CONLLU, "utf-8")
    sentences = list(read_conllu(tmp_path / "in.conllu"))
    write_conllu(sentences, tmp_path / "new" / "out.conllu")
    assert (tmp_path / "new" / "out.conllu").read_bytes() == CONLLU.encode()
    assert sentences[0].forms == ["别", "说", "了", "。"]
    assert sentences[0].heads == [2, 0, 2, 2]
    assert sentences[0].scored == [True, True, True, False]
    assert sentences[0].other_lines[1][0] == 2
    assert sentences[1].words == (Word("#", upos="SYM"),)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["zh_cfl/zh_cfl-ud-test.conllu", "en_ewt/en_ewt-ud-dev.conllu", "weibo-treebank/train.conll"]
)
def test_real_treebanks_read_and_written_are_the_same(shared_data: Path, name: str) -> None:
    path = shared_data / "ud" / f"{name}.xz"
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
        assert "".join(f"{sentence}\n" for sentence in read_conllu(path)) == file.read()


def test_compressed_files_other_line_ends_and_a_missing_last_line(tmp_path: Path) -> None:
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(CONLLU.encode()))
    (tmp_path / "a.conllu.xz").write_bytes(lzma.compress(CONLLU.encode()))
    expected = list(read_conllu(CONLLU.splitlines()))
    assert list(read_conllu(tmp_path / "a.conllu.gz")) == list(read_conllu(tmp_path / "a.conllu.xz")) == expected
    assert list(read_conllu(CONLLU.replace("\n", "\r\n").split("\n"))) == expected
    assert list(read_conllu(f"\n\n{CONLLU.rstrip()}".split("\n"))) == expected
    assert list(read_conllu([])) == []


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, suffix: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    (tmp_path / f"a.conllu{suffix}").write_bytes(pack(b"\xef\xbb\xbf" + CONLLU.encode()))
    assert list(read_conllu(tmp_path / f"a.conllu{suffix}")) == list(read_conllu(CONLLU.splitlines()))
    (tmp_path / f"a.mrg{suffix}").write_bytes(pack(b"\xef\xbb\xbf(S (X a) (Y b))\n"))
    assert [one.words for one in read_brackets(tmp_path / f"a.mrg{suffix}")] == [("a", "b")]


def test_files_that_were_joined_keep_the_byte_order_mark_of_each() -> None:
    lines = [f"\ufeff{line}" if line.startswith(("# sent_id", "1\t#")) else line for line in CONLLU.splitlines()]
    assert list(read_conllu(lines)) == list(read_conllu(CONLLU.splitlines()))
    assert [one.words for one in read_brackets(["\ufeff(S (X a) (Y b))"])] == [("a", "b")]


def test_line_separators_inside_a_word_do_not_end_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text("1\ta\u2028b\t_\t_\t_\t_\t0\t_\t_\t_\n\n", "utf-8")
    assert next(read_conllu(tmp_path / "a.conllu")).forms == ["a\u2028b"]


def test_a_new_tree_takes_the_old_annotation_with_it() -> None:
    sentence = next(read_conllu(CONLLU.splitlines())).with_heads([0, 1, 2, 3])
    assert sentence.heads == [0, 1, 2, 3]
    assert [word.deprel for word in sentence.words] == ["root", "dep", "dep", "dep"]
    assert {word.deps for word in sentence.words} == {"_"}
    assert [line.split("\t")[0] for _, line in sentence.other_lines] == ["1-2"]
    assert list(read_conllu(str(sentence).split("\n"))) == [sentence]


def line(identifier: str = "1", head: str = "0", form: str = "a", rest: str = "_\t_\t_") -> str:
    return f"{identifier}\t{form}\t_\t_\t_\t_\t{head}\t{rest}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["# ok", "1\ta\t_"], "line 2 has 3 columns; CoNLL-U has 10"),
        ([line(), "", line(form="")], "line 3 has an empty column 2"),
        ([line("x")], "line 1 has the ID 'x'"),
        ([line(), line("3")], "line 2 has the ID 3, expected 2"),
        ([line(head="-1")], "line 1 has the head '-1'; heads are numbers"),
        ([line(), line("2", "1"), line("3", "4"), ""], "line 3 has the head 4, in a sentence of 3 words"),
        ([line(head="1")], "line 1 has the head 1, in a sentence of 1 words"),
        ([line(), "# late"], "line 2 is a comment inside a sentence"),
        (
            [line(head="2"), line("2", "1"), ""],
            r"line 1 has a head in a cycle of the words \[1, 2\]; heads lead to a root",
        ),
        (
            [line(), line("2", "4"), line("3", "2"), line("4", "3"), ""],
            r"line 2 has a head in a cycle of .* \[2, 3, 4\]",
        ),
        ([line(head="_"), line("2", "3"), line("3", "2"), ""], r"line 2 has a head in a cycle of the words \[2, 3\]"),
        (["# alone", ""], "line 2 ends a sentence without words"),
        ([line("2-3", "_")], "line 1 has the ID 2-3 after word 0"),
        ([line("1-2", "_"), line(), line("2-3", "_")], "line 3 has the ID 2-3 after word 1"),
        ([line("1-3", "_"), line(), ""], "line 3 ends a sentence of 1 words; a multiword token reaches beyond it"),
        ([line(), line("2.1", "_")], "line 2 has the ID 2.1 after word 1"),
    ],
)
def test_malformed_lines_are_named(lines: list[str], message: str) -> None:
    with pytest.raises(TreebankError, match=message):
        list(read_conllu(lines))


def test_broken_files_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.conllu"
    bad.write_bytes(CONLLU.encode() + b"1\t\xb0\xa1\n")
    with pytest.raises(ValueError, match=r"bad\.conllu, line 12 is not UTF-8"):
        list(read_conllu(bad))
    (tmp_path / "cut.xz").write_bytes(lzma.compress(CONLLU.encode() * 9)[:-20])
    with pytest.raises(ValueError, match=r"cut\.xz is cut off or broken as a compressed file"):
        list(read_conllu(tmp_path / "cut.xz"))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.conllu"):
        list(read_conllu(tmp_path / "none.conllu"))


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def sentences() -> object:
        yield Sentence.of(["a"])
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_conllu(sentences(), tmp_path / "out.conllu")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
