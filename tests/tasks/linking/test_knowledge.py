"""Knowledge bases, what is wrong with them, and descriptions within a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit import WoBertTokenizer
from nlpkit.tasks.linking import Descriptions, Entry, KnowledgeBase, read_entry

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] 北京 大学 北 京 大 学 的 ， 。 ：".split()
TOKENIZER = WoBertTokenizer({word: number for number, word in enumerate(WORDS)})


def test_entries_of_one_entity_give_its_id() -> None:
    base = KnowledgeBase(
        [Entry("a", "甲", same_as="b"), Entry("b", "乙", ("甲",), same_as="c"), Entry("c", "丙"), Entry("d", "甲")]
    )
    assert base.names() == {"甲": ("c", "d"), "乙": ("c",), "丙": ("c",)}
    assert [base.resolve(name) for name in "abcd"] == ["c", "c", "c", "d"]
    assert base["a"].name == "丙"
    assert [entry.id for entry in base] == ["c", "d"]
    assert len(base) == 2
    assert "a" in base
    assert "e" not in base


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "the knowledge base is empty; give at least one entry"),
        ([Entry("a", "甲"), Entry("b", "乙"), Entry("a", "丙")], "entries 0 and 2 have one id, 'a'"),
        ([Entry("a", "甲", (" ",))], r"entry 0: an alias is ' '; give one that is not blank"),
        ([Entry("a", "甲", same_as="z")], "'a' is the same as 'z', which the knowledge base does not have"),
        ([Entry("a", "甲", same_as="a")], r"in a circle: 'a' -> 'a'"),
        (
            [Entry("x", "一", same_as="a"), Entry("a", "甲", same_as="b"), Entry("b", "乙", same_as="a")],
            r"in a circle: 'a' -> 'b' -> 'a'; one of them must end it",
        ),
    ],
)
def test_broken_bases_are_refused(entries: list[Entry], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnowledgeBase(entries)


def test_unknown_ids_and_other_things_than_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="the knowledge base has no entity 'z'"):
        KnowledgeBase([Entry("a", "甲")]).resolve("z")
    with pytest.raises(TypeError, match=r"entry 0 is a dict; give nlpkit.tasks.linking.Entry"):
        KnowledgeBase([{"id": "a"}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"name": "甲"}, ValueError, "there is no 'id'"),
        ({"id": "a"}, ValueError, "there is no 'name'"),
        ({"id": 7, "name": "甲"}, TypeError, "id is 7, a int; give a text"),
        ({"id": "a", "name": " "}, ValueError, "name is ' '; give one that is not blank"),
        ({"id": "a", "name": "甲", "aliases": "乙"}, TypeError, "aliases is '乙'; give a list"),
        ({"id": "a", "name": "甲", "aliases": [""]}, ValueError, "an alias is ''; give one that is not blank"),
        ({"id": "a", "name": "甲", "facts": [["p"]]}, TypeError, r"facts hold \['p'\]; each is a pair"),
    ],
)
def test_broken_lines_are_named(record: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        read_entry(record)
    path = tmp_path / "base.jsonl"
    path.write_text(json.dumps({"id": "z", "name": "末"}) + "\n" + json.dumps(record) + "\n", "utf-8")
    with pytest.raises(error, match=f"base.jsonl, line 2: .*{message}"):
        KnowledgeBase.read(path)


def test_files_that_hold_no_base_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KnowledgeBase.read(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"empty.jsonl: the knowledge base is empty"):
        KnowledgeBase.read(tmp_path / "empty.jsonl")
    (tmp_path / "cut.jsonl").write_text('{"id": "a", "na')
    with pytest.raises(ValueError, match=r"cut.jsonl, line 1 is not JSON"):
        KnowledgeBase.read(tmp_path / "cut.jsonl")


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    entries = [
        Entry("a", "甲\u2028", ("乙",), "第一", (("色", "红"), ("大", ""))),
        Entry("b", "丙", same_as="a"),
    ]
    KnowledgeBase(entries).save(tmp_path / "base.jsonl")
    assert list(KnowledgeBase.read(tmp_path / "base.jsonl").entries.values()) == entries


def tokens(text: str) -> int:
    return len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


@given(
    st.text("北京大学的", min_size=1, max_size=8),
    st.text("北京大学的", max_size=8),
    st.lists(st.tuples(st.text("北京", min_size=1, max_size=4), st.text("大学", max_size=6)), max_size=4),
    st.integers(1, 30),
)
def test_descriptions_keep_to_their_budget_and_lose_no_more(
    name: str, description: str, facts: list[tuple[str, str]], budget: int
) -> None:
    entry = Entry("a", name, (), description, tuple(facts))
    found = Descriptions(KnowledgeBase([entry]), TOKENIZER, budget)("a")
    # By hand: the longest run of whole parts from the first on, or what fits of the name.
    parts = [name, *([f"，{description}"] if description else [])]
    parts += [f"。{predicate}：{value}" if value else f"。{predicate}" for predicate, value in facts]
    fitting = [size for size in range(1, len(parts) + 1) if tokens("".join(parts[:size])) <= budget]
    if fitting:
        assert found == "".join(parts[: max(fitting)])
    else:
        assert found
        assert name.startswith(found)
        assert tokens(found) <= budget


def test_facts_can_be_left_out_and_entries_lead_to_their_entity() -> None:
    base = KnowledgeBase([Entry("a", "北京", (), "大学", (("的", "京"),)), Entry("b", "北", same_as="a")])
    assert Descriptions(base, TOKENIZER, use_facts=False)("b") == "北京，大学"
    with pytest.raises(ValueError, match="budget=0 leaves no token for a description"):
        Descriptions(base, TOKENIZER, 0)
    with pytest.raises(ValueError, match="has no entity 'z'"):
        Descriptions(base, TOKENIZER)("z")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("Q1", "苹果", "苹果公司"), r"entry 0: aliases is '苹果公司'; give a list"),  # type: ignore[arg-type]
        (Entry(1, "苹果"), r"entry 0: id is 1, a int; give a text"),  # type: ignore[arg-type]
        (Entry("Q1", "苹果", facts=("红",)), r"entry 0: facts hold '红'"),  # type: ignore[arg-type]
        (Entry("Q1", "苹果", description=None), r"entry 0: description is None"),  # type: ignore[arg-type]
    ],
)
def test_entries_that_could_not_be_read_again_are_refused(entry: Entry, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        KnowledgeBase([entry])


def test_long_chains_of_one_entity_are_resolved() -> None:
    """A step per pair of entries would take minutes."""
    chain = [Entry(str(place), "甲", same_as=str(place + 1)) for place in range(30_000)]
    assert KnowledgeBase([*chain, Entry("30000", "乙")]).resolve("0") == "30000"


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"text of row 1 has a lone surrogate, '\\ud83d', at character 0"):
        KnowledgeBase([Entry("a", "甲"), Entry("b", "乙", facts=(("色", "\ud83d"),))]).save(tmp_path / "base.jsonl")
    assert not list(tmp_path.iterdir())
