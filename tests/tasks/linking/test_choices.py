"""Counts, candidates, choices and scores, against slow ways to the same."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.tasks.linking import (
    AliasIndex,
    Entry,
    KnowledgeBase,
    Link,
    Mention,
    MentionPrior,
    choose_links,
    choose_spans,
    find_mentions,
    link_accuracy,
    read_linked,
    read_links,
    score_links,
)
from tests.reference.linking import best_choice, shares

NAMES = {"北": ("Q1",), "北京": ("Q2", "Q3"), "京": ("Q4", "Q2"), "大学": ("Q5",)}
INDEX = AliasIndex(NAMES)


def linked(text: str, places: Sequence[int]) -> list[Link]:
    """Some of the names in a text as links, to one entity of theirs or another."""
    matches = INDEX.find_all(text)
    chosen = {place % len(matches) for place in places} if matches else set()
    return [
        Link(start, end, text[start:end], NAMES[alias][number % len(NAMES[alias])])
        for number, (start, end, alias) in enumerate(matches)
        if number in chosen
    ]


texts = st.lists(
    st.tuples(st.text("北京大学在", max_size=8), st.lists(st.integers(0, 9), max_size=3)), min_size=1, max_size=5
)


@given(texts, st.sampled_from([0.1, 1.0, 2.5]))
def test_priors_are_counts_of_every_text(drawn: list[tuple[str, list[int]]], smoothing: float) -> None:
    given_texts, links = [text for text, _ in drawn], [linked(text, places) for text, places in drawn]
    prior = MentionPrior.count(INDEX, given_texts, links, smoothing)
    wanted = [{(link.start, link.end): link.entity for link in row} for row in links]
    for name, entities in NAMES.items():
        probability, of_entities = shares(name, given_texts, wanted, entities, smoothing)
        assert prior.probability(name) == pytest.approx(probability, abs=1e-12)
        assert prior.entity_probabilities(name, entities) == pytest.approx(of_entities, abs=1e-12)
        assert sum(of_entities) == pytest.approx(1)


@given(texts)
def test_a_prior_without_a_text_is_that_of_the_others(drawn: list[tuple[str, list[int]]]) -> None:
    given_texts, links = [text for text, _ in drawn], [linked(text, places) for text, places in drawn]
    everything = MentionPrior.count(INDEX, given_texts, links)
    others = MentionPrior.count(INDEX, given_texts[1:], links[1:])
    left_out = everything.without(MentionPrior.count(INDEX, given_texts[:1], links[:1]))
    for name, entities in NAMES.items():
        assert left_out.probability(name) == others.probability(name)
        assert left_out.entity_probabilities(name, entities) == others.entity_probabilities(name, entities)
    found = find_mentions(given_texts[0], INDEX, everything, known=links[0])
    assert found == find_mentions(given_texts[0], INDEX, others)


def test_priors_are_saved_and_refuse_what_they_cannot_be(tmp_path: Path) -> None:
    prior = MentionPrior.count(INDEX, ["北京大学"], [[Link(0, 2, "北京", "Q3")]], 0.5)
    prior.save(tmp_path / "prior.json")
    again = MentionPrior.read(tmp_path / "prior.json")
    assert (again.seen, again.linked, again.smoothing) == (prior.seen, prior.linked, 0.5)
    with pytest.raises(ValueError, match=r"smoothing=0: give a finite number at least 1e-06"):
        MentionPrior({}, {}, 0)
    with pytest.raises(ValueError, match=r"1 texts and 0 rows of links"):
        MentionPrior.count(INDEX, ["北京"], [])
    with pytest.raises(ValueError, match="these texts are not among those that were counted"):
        find_mentions("大学大学", INDEX, prior, known=[])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other.json holds no prior: linked, seen, smoothing is missing"):
        MentionPrior.read(tmp_path / "other.json")


def test_a_link_to_nothing_is_counted_as_none() -> None:
    texts, names = ["北京", "北京"], [[Link(0, 2, "北京", "NIL")], [Link(0, 2, "北京", "Q2")]]
    assert MentionPrior.count(INDEX, texts, names).linked == {"北京": {"Q2": 1}}
    of_that_id = AliasIndex({"北京": ("NIL", "Q2")})
    assert MentionPrior.count(of_that_id, texts, names).linked == {"北京": {"NIL": 1, "Q2": 1}}


def test_candidates_are_filtered_and_ranked() -> None:
    prior = MentionPrior.count(
        INDEX, ["北京", "京", "京"], [[Link(0, 2, "北京", "Q3"), Link(1, 2, "京", "Q2")], [], []]
    )
    everything = find_mentions("北京", INDEX, prior)
    assert [(one.start, one.end, one.entities) for one in everything] == [
        (0, 1, ("Q1",)),
        (0, 2, ("Q3", "Q2")),
        (1, 2, ("Q2", "Q4")),
    ]
    assert [round(one.prior, 9) for one in everything] == [round(1 / 3, 9), round(2 / 3, 9), 0.4]
    assert find_mentions("北京", INDEX, prior, least_prior=0.5, most_entities=1) == [
        Mention(0, 2, ("Q3",), 2 / 3, (2 / 3,))
    ]
    with pytest.raises(ValueError, match="least_prior=1: give a finite number at least 0 and below 1"):
        find_mentions("北京", INDEX, prior, least_prior=1)
    with pytest.raises(ValueError, match="most_entities=0: give a whole number at least 1; or None for all"):
        find_mentions("北京", INDEX, prior, most_entities=0)


spans = st.lists(
    st.tuples(st.integers(0, 8), st.integers(1, 5), st.integers(-4, 6)).map(lambda x: ((x[0], x[0] + x[1]), x[2] / 4)),
    max_size=9,
)


@given(spans, st.one_of(st.none(), st.integers(1, 4)))
def test_the_choice_is_the_best_of_all_subsets(drawn: list[tuple[tuple[int, int], float]], most: int | None) -> None:
    places, gains = [span for span, _ in drawn], [gain for _, gain in drawn]  # quarters, whose sums are exact
    chosen = choose_spans(places, gains, most=most)
    own = [places[number] for number in chosen]
    assert all(before[1] <= after[0] for before, after in pairwise(own))
    assert all(gains[number] > 0 for number in chosen)
    assert most is None or len(chosen) <= most
    found = (sum(gains[number] for number in chosen), sum(end - start for start, end in own))
    assert found == best_choice(places, [gain if gain > 0 else -100.0 for gain in gains], most)


def test_choices_that_cannot_be_made_are_refused() -> None:
    assert choose_spans([], []) == []
    with pytest.raises(ValueError, match="2 spans and 1 gains"):
        choose_spans([(0, 1), (1, 2)], [1.0])
    with pytest.raises(ValueError, match=r"span \(1, 1\) is empty"):
        choose_spans([(1, 1)], [1.0])
    with pytest.raises(ValueError, match=r"the gain of span \(0, 1\) is nan"):
        choose_spans([(0, 1)], [math.nan])
    with pytest.raises(ValueError, match="most=0: give a whole number at least 1"):
        choose_spans([(0, 1)], [1.0], most=0)


def explains(link: Link, mention: Mention, logs: Sequence[float]) -> bool:
    if link.entity not in mention.entities:
        return False
    return math.isclose(link.score, math.exp(logs[1 + mention.entities.index(link.entity)]))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4), st.randoms()
)
def test_links_are_the_most_probable_assignment_of_all(drawn: list[tuple[int, int, int]], random: object) -> None:
    mentions, logs = [], []
    for start, length, entities in drawn:
        weights = [random.random() + 0.01 for _ in range(entities + 1)]  # type: ignore[attr-defined]
        logs.append([math.log(weight / sum(weights)) for weight in weights])
        mentions.append(
            Mention(start, start + length, tuple(f"Q{n}" for n in range(entities)), 0.5, (1 / entities,) * entities)
        )

    def assignments(number: int, taken: set[int]) -> list[tuple[float, tuple[int, ...]]]:
        """Every way to link the mentions from a number on: its log probability, and the choices."""
        if number == len(mentions):
            return [(0.0, ())]
        own = set(range(mentions[number].start, mentions[number].end))
        choices = range(len(logs[number])) if not own & taken else [0]
        return [
            (logs[number][choice] + rest, (choice, *others))
            for choice in choices
            for rest, others in assignments(number + 1, taken | own if choice else taken)
        ]

    largest = max(total for total, _ in assignments(0, set()))
    found = choose_links("北京大学在北京", mentions, logs)
    total, left = 0.0, list(found)
    for mention, row in zip(mentions, logs, strict=True):
        own = [link for link in left if (link.start, link.end) == (mention.start, mention.end)]
        own = [link for link in own if explains(link, mention, row)]
        left = [link for link in left if link not in own]
        total += row[1 + mention.entities.index(own[0].entity)] if own else row[0]
    assert not left
    assert total == pytest.approx(largest, abs=1e-9)
    assert all(0 < link.score <= 1 for link in found)


def test_a_threshold_is_what_an_entity_must_exceed_beside_none() -> None:
    mentions, logs = [Mention(0, 2, ("Q1",), 0.5, (1.0,))], [[math.log(0.4), math.log(0.6)]]
    assert len(choose_links("北京", mentions, logs, threshold=0.59)) == 1
    assert choose_links("北京", mentions, logs, threshold=0.61) == []
    with pytest.raises(ValueError, match="threshold=1: give a finite number above 0 and below 1"):
        choose_links("北京", mentions, logs, threshold=1)


def test_scores_by_hand() -> None:
    gold = [[Link(0, 2, "", "a"), Link(4, 5, "", "b")], [], [Link(1, 2, "", "c")]]
    found = [[Link(0, 2, "", "x", 0.9), Link(4, 5, "", "b")], [Link(0, 1, "", "c")], [Link(0, 2, "", "c")]]
    report = score_links(gold, found)
    assert (report.mentions.gold, report.mentions.predicted, report.mentions.correct) == (3, 4, 2)
    assert (report.links.gold, report.links.predicted, report.links.correct) == (3, 4, 1)
    assert report.links.f1 == 2 / 7
    assert link_accuracy(gold, [["a", None], [], ["c"]]) == 2 / 3
    assert math.isnan(link_accuracy([[]], [[]]))
    with pytest.raises(ValueError, match="there are no texts to score"):
        score_links([], [])
    with pytest.raises(ValueError, match="3 gold texts, 1 predicted"):
        score_links(gold, found[:1])
    with pytest.raises(ValueError, match="give one answer per mention, None for none"):
        link_accuracy(gold, [["a"], [], ["c"]])


BASE = KnowledgeBase([Entry("Q1", "北京"), Entry("Q2", "京", same_as="Q1")])


def test_what_is_no_link_is_not_scored() -> None:
    """As texts have it that ``read_links`` has not read."""
    gold = [[Link(0, 1, "c", "Q1")], [Link(0, 1, "c", None)]]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gold text 1 has Link\(.*entity=None.*\), which is no link; leave it out"):
        score_links(gold, [[], []])
    with pytest.raises(ValueError, match=r"gold text 1 has .*, which is no link; leave it out, as read_links does"):
        link_accuracy(gold, [["Q1"], [None]])


def test_links_are_read_with_the_ids_of_their_entities(tmp_path: Path) -> None:
    example = {
        "text": "在北京大学",
        "links": [[3, 5, "NIL"], {"start": 1, "end": 3, "entity": "Q2"}, [0, 1, None], Link(1, 3, "", "Q1")],
    }
    assert read_links(example, BASE) == [Link(1, 3, "北京", "Q1")]
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "在北京", "links": [[1, 3, "Q2"]]}\n', "utf-8")
    assert read_linked(path, BASE) == [{"text": "在北京", "links": [Link(1, 3, "北京", "Q1")]}]
    path.write_text('\n{"text": "在北京", "links": [[1, 9, "Q2"]]}\n', "utf-8")
    with pytest.raises(ValueError, match=r"texts.jsonl, line 2: link \(1, 9, 'Q2'\) does not lie in a text of 3"):
        read_linked(path, BASE)
    path.write_text("\n", "utf-8")
    with pytest.raises(ValueError, match=r"texts.jsonl holds no texts"):
        read_linked(path, BASE)


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        ({"text": "北京"}, ValueError, r"needs 'text' and 'links'.*got \['text'\]"),
        ({"text": None, "links": []}, TypeError, "text is None, a NoneType; give a text"),
        ({"text": "北京", "links": [[0, 2]]}, TypeError, r"links hold \[0, 2\]; each is \[start, end, entity\]"),
        (
            {"text": "北京", "links": [[0, "2", "Q1"]]},
            TypeError,
            "a link's end='2': give a whole number; of a character",
        ),
        ({"text": "北京", "links": [[0, 2, 7]]}, TypeError, "entity is 7, a int; give an id, a text"),
        ({"text": "北京", "links": [[1, 1, "Q1"]]}, ValueError, r"link \(1, 1, 'Q1'\) does not lie in a text of 2"),
        ({"text": "北京", "links": [[0, 2, "Q9"]]}, ValueError, "the knowledge base has no entity 'Q9'"),
    ],
)
def test_links_that_cannot_be_are_refused(example: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_links(example, BASE)
    two = {"text": "北京", "links": [[0, 2, "Q1"], [0, 2, "Q3"]]}
    with pytest.raises(ValueError, match="characters 0 to 2 have two entities, 'Q1' and 'Q3'"):
        read_links(two)


def test_one_text_is_no_list_and_no_id_is_no_entity() -> None:
    with pytest.raises(TypeError, match=r"what 'a' stands for is one text, 'Q12'; give a list of ids"):
        AliasIndex({"a": "Q12"})
    with pytest.raises(ValueError, match=r"the name 'a' stands for no entity"):
        AliasIndex({"a": ()})
    with pytest.raises(TypeError, match=r"texts is one text, '苹果'; give a list of them"):
        MentionPrior.count(AliasIndex({"苹果": ("Q1",)}), "苹果", [[], []])


def test_counts_that_cannot_be_are_named(tmp_path: Path) -> None:
    for smoothing in (math.inf, math.nan, 1e-20):
        with pytest.raises(ValueError, match=r"smoothing=.*: give a finite number at least 1e-06"):
            MentionPrior({}, {}, smoothing)
    assert 0 < MentionPrior({"a": 10**9}, {"a": {"Q1": 10**9}}, 1e-6).probability("a") < 1
    with pytest.raises(ValueError, match=r"'a' was linked 2 times and seen 1 times"):
        MentionPrior({"a": 1}, {"a": {"Q1": 2}})
    with pytest.raises(ValueError, match=r"seen\['a'\]=-5: give a whole number at least 0"):
        MentionPrior({"a": -5}, {})
    with pytest.raises(TypeError, match="linked is a list; it holds counts by name"):
        MentionPrior({}, [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"text 0 has the link \(0, 2, 'Q2'\); give a Link"):
        MentionPrior.count(INDEX, ["北京"], [[(0, 2, "Q2")]])  # type: ignore[list-item]
    path = tmp_path / "prior.json"
    once = {"a": 1}
    for seen, linked in (([], {}), ({"a": "1"}, {}), (once, once), (once, {"a": {"Q1": 2}}), (once, 3)):
        path.write_text(json.dumps({"smoothing": 1, "seen": seen, "linked": linked}), "utf-8")
        with pytest.raises(ValueError, match=r"prior\.json holds no prior: .*; write it again"):
            MentionPrior.read(path)


def test_numbers_of_numpy_are_places_and_others_are_not(tmp_path: Path) -> None:
    assert read_links({"text": "在北京", "links": [[np.int64(1), np.int32(3), "Q1"]]})[0].mention == "北京"
    with pytest.raises(TypeError, match=r"a link's start=True: give a whole number"):
        read_links({"text": "在北京", "links": [[True, 3, "Q1"]]})
    with pytest.raises(TypeError, match=r"most=1.5: give a whole number at least 1"):
        choose_links("", [], [], most=1.5)  # type: ignore[arg-type]
    for threshold in ("0.5", None):
        with pytest.raises(TypeError, match=r"threshold=.*: give a finite number above 0 and below 1"):
            choose_links("", [], [], threshold=threshold)  # type: ignore[arg-type]
    path = tmp_path / "linked.jsonl"
    for links in ("null", "5", '"ab"'):
        path.write_text(f'{{"text": "在北京", "links": {links}}}\n', "utf-8")
        with pytest.raises(TypeError, match=r"linked\.jsonl, line 1: links is .*; give a list"):
            read_linked(path)
