"""Labels that a data set holds as the numbers of their names."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from nlpkit.pet import Ensemble, LabelLoss, MultiLabelClassifier, PetTrainer, PetTrainingArguments
from nlpkit.pet.clozes.class_names import named
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, small_classifier, small_model

NAMES = ["good", "bad"]
NUMBERS = [1, 0, 1, 0, 0, 1, 0, -1]
SAID = [None if number < 0 else NAMES[number] for number in NUMBERS]


def dataset(names: list[str] = NAMES) -> Dataset:
    features = Features({"review": Value("string"), "stars": ClassLabel(names=names)})
    return Dataset.from_dict({"review": TEXTS, "stars": NUMBERS}, features)


@pytest.mark.parametrize("order", [["good", "bad"], ["bad", "good"]])
def test_names_are_the_labels(order: list[str], small_vocabulary: dict[str, int], tmp_path: Any) -> None:
    made = small_classifier(small_vocabulary, verbalizer={name: "很" if name == "good" else "不" for name in order})
    data = dataset()
    for one in (made, Ensemble([made])):
        found = one._labelled(data, None, "review", "stars")
        assert [example.label for example in found.examples] == SAID
        assert [example.label for example in one._labelled(TEXTS, data["stars"], None, None).examples] == SAID
    known, texts, said = data.select(range(7)), TEXTS[:7], SAID[:7]
    assert made.score(known, text="review", label="stars") == made.score(texts, said)
    with pytest.raises(ValueError, match="y contains no label for row 7"):
        made.score(data, text="review", label="stars")
    made = made.float().set_params(fitting__max_steps=1)
    answers = made.fit(data, text="review", label="stars", validation=known).predict(TEXTS)
    assert answers == made.fit(TEXTS, SAID, validation=(texts, said)).predict(TEXTS)
    assert set(answers) <= set(NAMES)
    arguments = PetTrainingArguments(str(tmp_path), max_steps=1, disable_tqdm=True)
    renamed = data.rename_columns({"review": "text", "stars": "label"})
    trainer: Any = PetTrainer(LabelLoss(made), arguments, renamed, renamed.select(range(7)))
    assert [example.label for example in trainer.eval_dataset] == said


def test_numbers_stay_where_they_are_the_labels(small_vocabulary: dict[str, int]) -> None:
    made = small_classifier(small_vocabulary, verbalizer={1: "很", 0: "不"})
    found = made._labelled(dataset(), None, "review", "stars")
    assert [example.label for example in found.examples] == [None if one < 0 else str(one) for one in NUMBERS]
    assert named([4], ["1", "2", "3", "4", "5"], ["1", "5"]) == ["5"]
    assert named([1], ["1", "2"], ["0", "1"]) == [1]
    assert named([2], ["bad", "mixed", "good"], ["bad", "good"]) == ["good"]


def test_lists_of_names_are_read_as_such(small_vocabulary: dict[str, int]) -> None:
    topics = [[0, 1], [], [1], [0], [], [1], [], [0]]
    features = Features({"text": Value("string"), "label": List(ClassLabel(names=["酒店", "服务"]))})
    data = Dataset.from_dict({"text": TEXTS, "label": topics}, features)
    tokenizer = WoBertTokenizer(small_vocabulary)
    words = {"服务": "服务", "酒店": "酒店"}
    made = MultiLabelClassifier(small_model(len(tokenizer)), tokenizer, "{text}{mask}", words)
    wanted = [tuple(["酒店", "服务"][number] for number in own) for own in topics]
    for found in (made.labelled(data), made.labelled(TEXTS, data["label"])):
        assert [getattr(example, "applying", None) for example in found.examples] == wanted
