"""The model, its batches and the linker: trained a little, saved, loaded, asked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForMultipleChoice,
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
    TrainingArguments,
)

from nlpkit import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.tasks.linking import (
    AliasIndex,
    Descriptions,
    EntityLinker,
    Entry,
    KnowledgeBase,
    Link,
    LinkingCollator,
    LinkingModel,
    Mention,
    MentionPrior,
    PriorLinker,
    longest_links,
)
from nlpkit.training import TechniqueTrainer

BASE = KnowledgeBase(
    [
        Entry("hotel", "酒店", (), "房间 干净"),
        Entry("shop", "随时随地酒店", ("酒店",), "服务 朋友"),
        Entry("weather", "天气"),
        Entry("sky", "天气", (), "今天"),
        Entry("old", "随时", same_as="weather"),
    ]
)
EXAMPLES: list[dict[str, Any]] = [
    {"text": "酒店的房间很好", "links": [[0, 2, "hotel"]]},
    {"text": "朋友的酒店", "links": [[3, 5, "shop"]]},
    {"text": "我们的天气不错", "links": [[3, 5, "weather"]]},
    {"text": "酒店，是了", "links": []},
    {"text": "随时随地酒店", "links": [[0, 6, "shop"]]},
]
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def encoder(small_vocabulary: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **SMALL)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return str(folder)


def trained(source: str, steps: int = 60, **settings: Any) -> EntityLinker:
    torch.manual_seed(0)
    linker = EntityLinker.from_pretrained(source, BASE, settings={"description_tokens": 8, **settings})
    batch = linker.collator()(linker.training_rows(EXAMPLES, counted=False))
    optimizer = torch.optim.AdamW(linker.model.parameters(), lr=5e-3)
    for _ in range(steps):
        linker.model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return linker


TEXTS = [example["text"] for example in EXAMPLES]
WANTED = [[tuple(link) for link in example["links"]] for example in EXAMPLES]


def links(rows: list[list[Link]]) -> list[list[tuple[int, int, str]]]:
    return [[(link.start, link.end, link.entity) for link in row] for row in rows]


def test_a_linker_learns_is_saved_and_answers_the_same(encoder: str, tmp_path: Path) -> None:
    linker = trained(encoder, whole_words=False, use_facts=False, max_length=30)
    found = linker.predict(TEXTS)
    assert links(found) == WANTED
    assert all(
        TEXTS[number][link.start : link.end] == link.mention for number, row in enumerate(found) for link in row
    )
    assert all(1 / 3 < link.score <= 1 for row in found for link in row)
    linker.save_pretrained(tmp_path)
    again = EntityLinker.from_pretrained(tmp_path)
    assert (again.index.whole_words, again.descriptions.use_facts, again.max_length) == (False, False, 30)
    answers = again.predict([*TEXTS, "", " \n", "没有"], batch_size=2)
    assert answers[5:] == [[], [], []]
    for row, other in zip(answers, found, strict=False):
        assert row == [link._replace(score=pytest.approx(link.score, abs=1e-5)) for link in other]
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".jsonl", ".safetensors", ".txt"}
    assert type(AutoModelForMultipleChoice.from_pretrained(tmp_path)) is LinkingModel


def test_predictions_follow_what_they_are_given(encoder: str) -> None:
    linker = trained(encoder)
    assert linker.model.training is False
    linker.model.train()
    expected = links(linker.predict(TEXTS))
    frame = pandas.DataFrame({"n": range(5), "text": TEXTS})
    assert links(linker.predict(frame)) == links(linker.predict(frame["text"])) == expected == WANTED
    linker.model.base_model.embeddings.eval()
    before = [part.training for part in linker.model.modules()]
    linker.predict(TEXTS)
    assert [part.training for part in linker.model.modules()] == before
    with pytest.raises(ValueError, match="batch_size=0: give a whole number at least 1"):
        linker.predict(TEXTS, batch_size=0)
    assert linker.predict([]) == []
    both = "酒店的房间很好，我们的天气不错"
    assert len(linker.predict([both], most=1)[0]) <= 1
    with pytest.raises(TypeError, match="give a list of texts, not one text"):
        linker.predict("酒店")
    with pytest.raises(TypeError, match="text 0 is a NoneType, None; give strings"):
        linker.predict([None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="threshold=0: give a finite number above 0 and below 1; it is a probability"):
        linker.predict(TEXTS, threshold=0)
    with pytest.raises(ValueError, match="most=0: give a whole number at least 1; or None"):
        linker.predict(TEXTS, most=0)


def test_given_mentions_are_linked_to_the_best_of_their_candidates(encoder: str) -> None:
    linker = trained(encoder)
    spans = [[span[:2] for span in row] for row in WANTED]
    assert linker.choose(TEXTS, spans) == [[entity for _, _, entity in row] for row in WANTED]
    assert linker.choose(["好酒店"], [[(0, 1), (1, 3)]])[0][0] is None
    links = [[Link(*span, "", "") for span in row] for row in spans]
    mentions = [[Mention(*span, (), 0.5, ()) for span in row] for row in spans]
    assert linker.choose(TEXTS, links) == linker.choose(TEXTS, mentions) == linker.choose(TEXTS, spans)
    for wrong, message in (
        (None, r"spans is None; give a row of mentions for each text"),
        ([[0, 2]], r"text 0 has the mention 0; give \(start, end\)"),
        ([[(0, 2, "Q1")]], r"text 0 has the mention \(0, 2, 'Q1'\)"),
        ([[(0.0, 2.0)]], r"mention \(0.0, 2.0\) of text 0 must be two whole numbers"),
        ([None], "the mentions of text 0 are None"),
    ):
        with pytest.raises(TypeError, match=message):
            linker.choose(TEXTS[:1], wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mention \(3, 9\) does not lie in a text of 7 characters"):
        linker.choose(TEXTS[:1], [[(3, 9)]])
    with pytest.raises(ValueError, match="5 texts and 1 rows of mentions"):
        linker.choose(TEXTS, [[]])


def test_training_rows_name_the_right_choice(encoder: str, caplog: pytest.LogCaptureFixture) -> None:
    prior = MentionPrior.count(AliasIndex.of(BASE), ["酒店"] * 3, [[Link(0, 2, "酒店", "shop")]] * 3)
    linker = EntityLinker.from_pretrained(encoder, BASE, prior, settings={"most_entities": 1, "description_tokens": 8})
    rows = linker.training_rows(EXAMPLES[:2], counted=False)
    assert rows == [
        {"text": "酒店的房间很好", "mention": [0, 2], "candidates": ["hotel"], "labels": 1},
        {"text": "朋友的酒店", "mention": [3, 5], "candidates": ["shop"], "labels": 1},
    ]
    texts = [{"text": "随时随地酒店", "links": [[0, 2, "old"], [2, 4, "hotel"]]}]
    with caplog.at_level(logging.WARNING):
        rows = linker.training_rows(texts, counted=False)
    assert [(row["mention"], row["labels"]) for row in rows] == [([0, 2], 1), ([0, 6], 0), ([4, 6], 0)]
    assert rows[0]["candidates"] == ["weather"]
    assert "1 of 2 links are no name of their entity" in caplog.text
    with pytest.raises(ValueError, match=r"example 1: the knowledge base has no entity 'nobody'"):
        linker.training_rows([EXAMPLES[0], {"text": "酒店", "links": [[0, 2, "nobody"]]}], counted=False)
    with pytest.raises(ValueError, match="no text holds a name of the knowledge base"):
        linker.training_rows([{"text": "我们", "links": []}])


def test_the_counts_of_a_text_do_not_tell_its_own_answer(encoder: str) -> None:
    examples = [{"text": "天气", "links": [[0, 2, "sky"]]}, {"text": "酒店", "links": []}]
    index = AliasIndex.of(BASE)
    prior = MentionPrior.count(index, ["天气", "酒店"], [[Link(0, 2, "天气", "sky")], []])
    linker = EntityLinker.from_pretrained(encoder, BASE, prior, settings={"least_prior": 0.4, "description_tokens": 8})
    assert [row["candidates"] for row in linker.training_rows(examples)] == [["weather", "sky"], ["hotel", "shop"]]
    assert [row["candidates"] for row in linker.training_rows(examples, counted=False)] == [["sky", "weather"]]


def test_counts_alone_link_too() -> None:
    prior = MentionPrior.count(AliasIndex.of(BASE), TEXTS, [[Link(s, e, "", n) for s, e, n in row] for row in WANTED])
    linker = PriorLinker(BASE, prior)
    assert links(linker.predict(["随时随地酒店", "天气"])) == [[(0, 6, "shop")], [(0, 2, "weather")]]
    assert links(longest_links(["随时随地酒店好酒店"], linker.index)) == [[(0, 6, "shop"), (7, 9, "hotel")]]
    assert PriorLinker(BASE).predict(["天气"]) == [[]]  # a half of a half is not more probable than none
    with pytest.raises(TypeError, match="knowledge_base is a str; give a KnowledgeBase"):
        PriorLinker("base.jsonl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="least_prior=2: give a finite number at least 0 and below 1"):
        PriorLinker(BASE, least_prior=2)


@pytest.mark.parametrize(("config", "kind"), [(BertConfig, BertModel), (RobertaConfig, RobertaModel)])
def test_encoders_of_other_kinds_are_taken(
    config: Any, kind: Any, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    kind(config(vocab_size=len(small_vocabulary), **SMALL)).save_pretrained(tmp_path / "encoder")
    BertTokenizer(vocab=small_vocabulary).save_pretrained(tmp_path / "encoder")
    linker = trained(str(tmp_path / "encoder"))
    assert links(linker.predict(TEXTS)) == WANTED
    assert not [name for name, _ in linker.model.named_parameters() if "pooler" in name]
    linker.save_pretrained(tmp_path / "saved")
    assert links(EntityLinker.from_pretrained(tmp_path / "saved").predict(TEXTS)) == WANTED


def test_further_padding_and_other_mentions_change_no_answer(encoder: str) -> None:
    linker = trained(encoder, 5)
    linker.model.double()
    rows = linker.training_rows(EXAMPLES, counted=False)
    together = linker.model(**linker.collator()(rows)).logits
    for number, row in enumerate(rows):
        alone = linker.model(**linker.collator()([row])).logits[0]
        torch.testing.assert_close(alone, together[number, : len(alone)], rtol=0, atol=1e-10)
        assert (together[number, len(alone) :] == -torch.inf).all()


def test_long_texts_are_read_around_the_mention(encoder: str) -> None:
    linker = trained(encoder, 1, max_length=24)
    collate = linker.collator()
    text = "我们很好，" * 30 + "酒店" + "，是我们的" * 30
    left, right = collate.window(text, 150, 152)
    assert left < 150 < 152 < right
    room = 24 - 3 - 8
    assert room - 2 <= len(linker.tokenizer(text[left:right], add_special_tokens=False)["input_ids"]) <= room
    batch = collate([{"text": text, "mention": (150, 152), "candidates": ["hotel", "shop"]}])
    assert batch["input_ids"].shape[2] <= 24
    marked = batch["input_ids"][batch["mention_mask"]].tolist()
    assert linker.tokenizer.convert_ids_to_tokens(marked) == ["酒店"] * 3
    assert collate.window(text, 0, 2)[0] == 0
    assert collate.window(text, len(text) - 2, len(text))[1] == len(text)
    assert collate.window("酒店", 0, 2) == (0, 2)
    left, right = collate.window(text, 3, 290)  # which does not fit itself
    assert (left, right > 3) == (3, True)
    assert len(linker.predict([text])[0]) <= 1


def test_several_tokens_of_one_character_fit_too() -> None:
    backend = Tokenizer(models.BPE({sign: n for n, sign in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="!")
    collate = LinkingCollator(tokenizer, Descriptions(BASE, tokenizer, 9), 30)
    text = "我们很好" * 9 + "酒店" + "是我们的" * 9
    batch = collate([{"text": text, "mention": (36, 38), "candidates": ["hotel", "shop"]}])
    assert batch["input_ids"].shape[2] <= 30
    assert batch["mention_mask"].sum(-1).tolist() == [[6, 6, 6]]


def test_broken_rows_and_weights_are_told(encoder: str) -> None:
    linker = trained(encoder, 1)
    collate = linker.collator()
    row = {"text": "酒店", "mention": (0, 2), "candidates": ["hotel"], "labels": 1}
    with pytest.raises(ValueError, match=r"mention \(0, 3\) does not lie in a text of 2 characters"):
        collate([{**row, "mention": (0, 3)}])
    with pytest.raises(ValueError, match="row 1 has the label 2, and choices 0"):
        collate([row, {**row, "labels": 2}])
    with pytest.raises(ValueError, match="row 1 has no 'labels', others have"):
        collate([row, {name: row[name] for name in ("text", "mention", "candidates")}])
    with pytest.raises(ValueError, match="has no entity 'nobody'"):
        collate([{**row, "candidates": ["nobody"]}])
    with pytest.raises(ValueError, match="max_length=12 leaves no room for a text beside descriptions of 9"):
        LinkingCollator(linker.tokenizer, Descriptions(BASE, linker.tokenizer, 9), 12)
    with pytest.raises(ValueError, match="mention_mask is missing; LinkingCollator makes it"):
        linker.model(torch.ones(1, 2, 3, dtype=torch.long))
    torch.nn.init.constant_(linker.model.score.bias, float("nan"))
    with pytest.raises(ValueError, match="the model gives NaN: its weights are broken"):
        linker.predict(["酒店"])


def test_what_is_no_linker_is_refused(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no knowledge base; give knowledge_base="):
        EntityLinker.from_pretrained(encoder)
    with pytest.raises(TypeError, match="settings has budget; known are least_prior, most_entities"):
        EntityLinker.from_pretrained(encoder, BASE, settings={"budget": 3})
    with pytest.raises(TypeError, match="settings is a list; give a mapping"):
        EntityLinker.from_pretrained(encoder, BASE, settings=["budget"])
    with pytest.raises(TypeError, match="max_length='a': give a whole number"):
        EntityLinker.from_pretrained(encoder, BASE, settings={"max_length": "a"})
    with pytest.raises(TypeError, match="model is a BertModel; make a LinkingModel"):
        EntityLinker(BertModel(BertConfig(vocab_size=9, **SMALL)), WoBertTokenizer.from_pretrained(encoder), BASE)  # type: ignore[arg-type]
    sizes = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is an encoder-decoder \(t5\); give an encoder"):
        LinkingModel.from_pretrained(tmp_path)


def test_a_trainer_with_nothing_but_a_folder_trains_and_evaluates(encoder: str, tmp_path: Path) -> None:
    linker = trained(encoder, 0)
    rows = linker.training_rows(EXAMPLES, counted=False)
    arguments = TrainingArguments(tmp_path, use_cpu=True, report_to=[], disable_tqdm=True, max_steps=2, seed=1)
    trainer = TechniqueTrainer(
        linker.model, arguments, train_dataset=rows, eval_dataset=rows, data_collator=linker.collator()
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before
