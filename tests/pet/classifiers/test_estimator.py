"""One interface for all classifiers, with scikit-learn's conventions."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from nlpkit.pet import (
    ChoiceClassifier,
    DemonstratedClassifier,
    Ensemble,
    Example,
    Fitting,
    HeadClassifier,
    MultiLabelClassifier,
    PetClassifier,
    PetLoss,
    load_classifier,
)
from nlpkit.pet.classifiers.estimator import Estimator
from nlpkit.pet.clozes.examples import Label
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.classifiers.test_sentinels import classifier as sentinel_classifier
from tests.pet.models import small_model

sklearn = pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")

FITTING = Fitting(max_steps=12, learning_rate=0.02, batch_size=8)
GOOD = ["酒店很好", "房间干净", "服务态度好", "今天天气不错", "我们满意", "推荐朋友"]
BAD = ["酒店不好", "房间不干净", "服务不好", "天气不好", "不满意", "不推荐"]
TEXTS = [text for pair in zip(GOOD, BAD, strict=True) for text in pair]
LABELS = ["good", "bad"] * len(GOOD)
WORDS = {"good": "很", "bad": "不"}
Make = Callable[[dict[str, int]], Estimator]


def prompted(vocabulary: dict[str, int], pattern: str = "{mask}满意。{text}", **settings: Any) -> PetClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    model = small_model(len(tokenizer)).float()
    return PetClassifier(model, tokenizer, pattern, settings.pop("words", WORDS), fitting=FITTING, **settings)


def head(vocabulary: dict[str, int], outputs: int = 2) -> tuple[Any, Any]:
    from nlpkit import WoBertForSequenceClassification

    config = small_model(len(vocabulary)).config
    config.num_labels = outputs
    torch.manual_seed(1)
    return WoBertForSequenceClassification(config), WoBertTokenizer(vocabulary)


def demonstrated(vocabulary: dict[str, int], words: Mapping[Any, str] = WORDS) -> DemonstratedClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    model = small_model(len(tokenizer)).float()
    return DemonstratedClassifier(
        model, tokenizer, "{mask}。{text}", words, demonstration_length=12, samplings=2, fitting=FITTING
    )


def several(vocabulary: dict[str, int], *arguments: Any) -> MultiLabelClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    return MultiLabelClassifier(small_model(len(tokenizer)).float(), tokenizer, *arguments, fitting=FITTING)


KINDS: dict[str, Make] = {
    "words": prompted,
    "head": lambda vocabulary: HeadClassifier(*head(vocabulary), ["good", "bad"], fitting=FITTING),
    "choice": lambda vocabulary: ChoiceClassifier(
        *head(vocabulary, 1), "{text}", {"good": "我们满意", "bad": "我们不满意"}, fitting=FITTING
    ),
    "demonstrated": demonstrated,
    "sentinels": lambda vocabulary: sentinel_classifier(verbalizer=WORDS).float(),
    "ensemble": lambda vocabulary: Ensemble([prompted(vocabulary), prompted(vocabulary, "{text}{mask}")]),
}

#: Those that find any number of labels.
SEVERAL: dict[str, Make] = {
    "pairs": lambda vocabulary: several(
        vocabulary, "{text}{label}很{mask}", ("好", "不"), {"good": "好", "bad": "不"}
    ),
    "several": lambda vocabulary: several(vocabulary, "{text}{mask}", WORDS),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_fits_and_answers_alike(name: str, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[name](small_vocabulary)
    steps = 60 if name == "sentinels" else FITTING.max_steps  # a decoder, too, learns from nothing
    made = made.set_params(fitting=replace(FITTING, max_steps=steps))
    assert made.fit(TEXTS, LABELS) is made
    shares = made.predict_proba(TEXTS)
    assert shares.shape == (len(TEXTS), 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert (list(made.classes_), made.labels) == (["bad", "good"], ("good", "bad"))
    assert made.predict(TEXTS) == [made.classes_[row.argmax()] for row in shares]
    right = np.mean([found == label for found, label in zip(made.predict(TEXTS), LABELS, strict=True)])
    assert made.score(TEXTS, LABELS) == pytest.approx(right)
    assert right > 0.6 or name == "demonstrated"  # which wants more steps


def of_labels(name: str, labels: Sequence[Label], vocabulary: dict[str, int]) -> Estimator:
    """An untrained classifier of each kind, for labels in this order."""
    words = dict(zip(labels, ["很", "不"], strict=True))
    makers: dict[str, Callable[[], Estimator]] = {
        "words": lambda: prompted(vocabulary, words=words),
        "head": lambda: HeadClassifier(*head(vocabulary), labels, fitting=FITTING),
        "choice": lambda: ChoiceClassifier(*head(vocabulary, 1), "{text}", words, fitting=FITTING),
        "demonstrated": lambda: demonstrated(vocabulary, words).set_params(
            support={"text": TEXTS[:2], "label": list(labels)}
        ),
        "sentinels": lambda: sentinel_classifier(verbalizer=words).float(),
        "ensemble": lambda: Ensemble([prompted(vocabulary, words=words)] * 2),
    }
    return makers[name]()


@pytest.mark.parametrize("labels", [(1, 0), (0, 1), (10, 9), ("good", "bad")])
@pytest.mark.parametrize("name", KINDS)
def test_scores_of_probabilities_are_right_in_any_order_of_labels(
    name: str, labels: tuple[Label, Label], small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    from sklearn.metrics import get_scorer

    made = of_labels(name, labels, small_vocabulary)
    made.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    last = max(labels)  # which scikit-learn takes for the positive one
    right = np.array([labels[number % 3 == 0] for number in range(len(TEXTS))])
    shares = made.scores(TEXTS).softmax(dim=-1).numpy()[:, labels.index(last)].astype(float)
    of_last, of_others = shares[right == last], shares[right != last]
    above = (of_last[:, None] > of_others).mean() + (of_last[:, None] == of_others).mean() / 2
    for one in (made, load_classifier(tmp_path)):
        np.testing.assert_array_equal(one.classes_, np.unique(labels))
        assert get_scorer("roc_auc")(one, TEXTS, right) == pytest.approx(above)
        of_right = np.where(right == last, shares, 1 - shares)
        assert get_scorer("neg_log_loss")(one, TEXTS, right) == pytest.approx(np.log(of_right).mean(), rel=1e-4)
        if last == 1:  # of others, scikit-learn asks which is the positive one
            brier = get_scorer("neg_brier_score")(one, TEXTS, right)
            assert brier == pytest.approx(-((1 - of_right) ** 2).mean(), rel=1e-4)
        assert one.predict(TEXTS) == [one.classes_[number] for number in one.predict_proba(TEXTS).argmax(axis=1)]


@pytest.mark.parametrize("labels", [(3.5, 1.5), (np.float32(3.3), np.float64(1)), (2, "bad")])
@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_any_kind_come_back(
    name: str, labels: tuple[Any, Any], small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    made = of_labels(name, labels, small_vocabulary).set_params(fitting=Fitting(max_steps=1))
    right = [labels[number % 2] for number in range(len(TEXTS))]
    for step in ("before", "fitted"):
        if step == "fitted":
            made.fit(TEXTS, right)
        made.save_pretrained(tmp_path / step)  # type: ignore[attr-defined]
        for one in (made, load_classifier(tmp_path / step)):
            found = one.predict(TEXTS)
            assert set(found) <= set(labels) and not any(isinstance(label, np.generic) for label in found)
            np.testing.assert_array_equal(one.classes_, np.unique(np.array(labels, dtype=one.classes_.dtype)))
            assert one.score(TEXTS, right) == np.mean([a == b for a, b in zip(found, right, strict=True)])


def test_weights_of_labels_that_are_whole_fractions_are_theirs(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary, words={2.0: "很", 1.0: "不"})
    made.set_params(fitting=Fitting(max_steps=1, class_weight={2.0: 1.0, 1.0: 3.0})).fit(TEXTS[:2], [2.0, 1.0])
    assert made.fitting.to_dict()["class_weight"] == {"2": 1.0, "1": 3.0}


@pytest.mark.parametrize("name", ["head", "choice"])
@pytest.mark.parametrize("labels", [(1, 0), (2.0, 1.0), (3.5, 1.5)])
def test_numbers_given_again_are_the_labels_that_a_calibration_is_of(
    name: str, labels: tuple[Any, Any], small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    made: Any = of_labels(name, labels, small_vocabulary)
    made.calibrate([""]).save_pretrained(tmp_path)
    given = {"head": list(labels), "choice": dict(zip(labels, ["很", "不"], strict=True))}[name]
    again = type(made).from_pretrained(tmp_path, **{{"head": "labels", "choice": "hypotheses"}[name]: given})
    torch.testing.assert_close(again.prior, made.prior)
    assert again.predict(TEXTS) == made.predict(TEXTS)


@pytest.mark.parametrize("name", KINDS)
def test_what_answers_without_training_is_fitted_to_scikit_learn(name: str, small_vocabulary: dict[str, int]) -> None:
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils.validation import check_is_fitted

    made = of_labels(name, ["good", "bad"], small_vocabulary)
    check_is_fitted(made)
    assert Pipeline([("classifier", made)]).predict(TEXTS) == made.predict(TEXTS)
    piped = make_pipeline(FunctionTransformer(lambda texts: [text.strip() for text in texts]), made)
    piped.set_params(**{f"{piped.steps[-1][0]}__fitting": Fitting(max_steps=1)}).fit(TEXTS, LABELS)
    assert piped.predict([f" {text} " for text in TEXTS]) == made.predict(TEXTS)
    assert sklearn.base.clone(piped).predict_proba(TEXTS).shape == (len(TEXTS), 2)


def test_what_has_nothing_to_demonstrate_is_not_fitted(small_vocabulary: dict[str, int]) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    made = demonstrated(small_vocabulary)
    for one in (made, Ensemble([prompted(small_vocabulary), made])):
        with pytest.raises(NotFittedError):
            check_is_fitted(one)
        check_is_fitted(sklearn.base.clone(one).set_params(fitting=Fitting(max_steps=1)).fit(TEXTS, LABELS))


@pytest.mark.parametrize("name", ["words", "head", "ensemble", *SEVERAL])
def test_a_fit_does_not_know_of_another(name: str, small_vocabulary: dict[str, int]) -> None:
    made = (KINDS | SEVERAL)[name](small_vocabulary)
    before = made.predict_proba(TEXTS)
    first = made.fit(TEXTS, LABELS).predict_proba(TEXTS)
    again = made.fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-6)
    assert np.abs(first - before).max() > 0.01
    np.testing.assert_array_equal(sklearn.base.clone(made).predict_proba(TEXTS), before)
    np.testing.assert_array_equal(made.predict_proba(TEXTS), again)  # the clone has taken nothing away


@pytest.mark.parametrize("name", KINDS | SEVERAL)
def test_parameters_make_the_same_classifier_again(name: str, small_vocabulary: dict[str, int]) -> None:
    made = (KINDS | SEVERAL)[name](small_vocabulary)
    if name == "demonstrated":
        made.set_params(support=[Example({"text": text}, label) for text, label in zip(TEXTS, LABELS, strict=True)])
    again = type(made)(**made.get_params(deep=False))
    np.testing.assert_array_equal(again.predict_proba(TEXTS[:3]), made.predict_proba(TEXTS[:3]))


@pytest.mark.parametrize("name", KINDS | SEVERAL)
def test_a_line_says_what_a_classifier_is(name: str, small_vocabulary: dict[str, int]) -> None:
    made: Any = (KINDS | SEVERAL)[name](small_vocabulary)
    line = str(made)
    assert line == repr(made) and "\n" not in line
    assert line.startswith(f"{type(made).__name__}(")
    for one in getattr(made, "members", [made]):
        assert f"labels=('good', 'bad'), model={type(one.model).__name__})" in line
        assert repr(getattr(one, "pattern", one.labels)) in line
        assert "\n" in repr(one.model)


@pytest.mark.parametrize("name", KINDS)
def test_parameters_are_changed_by_their_names(name: str, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[name](small_vocabulary)
    assert made.set_params(fitting__max_steps=3) is made
    assert made.fitting.max_steps == made.get_params()["fitting__max_steps"] == 3
    with pytest.raises(ValueError, match="unknown parameter 'patern'; there are"):
        made.set_params(patern="{mask}{text}")


def test_cross_validation_and_a_search_over_patterns(small_vocabulary: dict[str, int]) -> None:
    from sklearn.model_selection import GridSearchCV, cross_val_score

    made = prompted(small_vocabulary)
    numbers = [1 if label == "good" else 0 for label in LABELS]
    scores = cross_val_score(made.set_params(verbalizer={1: "很", 0: "不"}), TEXTS, numbers, cv=3)
    assert scores.shape == (3,)
    assert scores.min() >= 0 and scores.max() <= 1
    grid = {"pattern": ["{mask}满意。{text}", "{text}很{mask}"], "fitting__max_steps": [1, 12]}
    search = GridSearchCV(made, grid, cv=2).fit(TEXTS, numbers)
    assert search.best_params_.keys() == grid.keys()
    assert search.best_estimator_.pattern.template == search.best_params_["pattern"]
    assert set(search.predict(TEXTS)) <= {0, 1}
    assert made.pattern.template == "{mask}满意。{text}"
    assert search.score(TEXTS, numbers) == search.best_estimator_.score(TEXTS, numbers)


@pytest.mark.parametrize(
    "kind", ["lists", "series", "array", "frame", "dataset", "arrow", "csv", "jsonl", "examples", "pairs"]
)
def test_users_own_tables_go_in_and_answers_come_back_in_their_order(
    kind: str, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    texts, labels = [*TEXTS[:6], ""], [1, 0, 1, 0, 1, 0, 0]
    frame = pd.DataFrame({"stars": labels, "review": texts, "id": range(7)}, index=[9, 3, 5, 1, 0, 2, 7])
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    columns = {"text": "review", "label": "stars"}
    given: dict[str, tuple[tuple[Any, ...], dict[str, str]]] = {
        "lists": ((texts, labels), {}),
        "series": ((frame["review"], frame["stars"]), {}),
        "array": ((frame[["review"]].to_numpy(), frame[["stars"]].to_numpy()), {}),
        "frame": ((frame,), columns),
        "arrow": ((pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False),), columns),
        "dataset": ((Dataset.from_pandas(frame, preserve_index=False),), columns),
        "csv": ((tmp_path / "a.csv",), columns),
        "jsonl": ((tmp_path / "a.jsonl",), columns),
        "examples": (([Example({"text": t}, str(y)) for t, y in zip(texts, labels, strict=True)],), {}),
        "pairs": (([{"text": t, "label": y, "n": 1} for t, y in zip(texts, labels, strict=True)],), {}),
    }
    expected = prompted(small_vocabulary, words={1: "很", 0: "不"}).fit(texts, labels)
    sources, names = given[kind]
    if kind == "csv":  # an empty cell of a table is an empty text
        assert (tmp_path / "a.csv").read_text().splitlines()[-1] == "0,,6"
    found = prompted(small_vocabulary, words={1: "很", 0: "不"}).fit(*sources, **names)
    where = {"text": names["text"]} if "text" in names else {}
    np.testing.assert_allclose(found.predict_proba(sources[0], **where), expected.predict_proba(texts), atol=1e-6)
    assert found.score(*sources, **names) == expected.score(texts, labels)
    wanted = expected.predict(texts)
    assert found.predict(sources[0], **where) == wanted
    assert {type(one) for one in found.predict(sources[0], **where)} == {int}


def test_columns_that_are_not_there_are_named(small_vocabulary: dict[str, int]) -> None:
    frame = pd.DataFrame({"stars": [1, 0], "review": TEXTS[:2], "city": ["X", None]})
    made = prompted(small_vocabulary, words={1: "很", 0: "不"})
    with pytest.raises(ValueError, match=r"no column 'text' for the text 'text'; .* 'city'; name it: text='review'$"):
        made.predict(frame)
    with pytest.raises(ValueError, match=r"there are the columns 'stars'; none of them holds texts$"):
        made.predict(frame[["stars"]], text="text")
    with pytest.raises(ValueError, match=r"; name it: text=\{'second': 'city'\}$"):
        prompted(small_vocabulary, "{first}{mask}{second}").predict(frame, text={"first": "review"})
    with pytest.raises(ValueError, match="there is no column 'rating' of labels; there are 'stars', 'rev"):
        made.fit(frame, text="review", label="rating")
    with pytest.raises(ValueError, match=r"no labels: give labels=.* there are the columns 'stars', 'review'"):
        made.fit(frame, text="review")
    with pytest.raises(ValueError, match="there are 2 texts, but 3 labels"):
        made.fit(TEXTS[:2], [1, 0, 1])
    with pytest.raises(ValueError, match="label '7' is not one of '1', '0'"):
        made.fit(TEXTS[:2], [1, 7])
    with pytest.raises(TypeError, match="row 1: an example is a text"):
        made.predict(["很好", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="give a list of texts, not one text"):
        made.predict("很好")


@pytest.mark.parametrize("name", KINDS | SEVERAL)
def test_the_only_column_is_the_text(name: str, small_vocabulary: dict[str, int]) -> None:
    made = (KINDS | SEVERAL)[name](small_vocabulary)
    made.fit(pd.DataFrame({"review": TEXTS}), LABELS)
    assert made.predict(pd.DataFrame({"review": TEXTS})) == made.predict(TEXTS)
    assert made.score(pd.DataFrame({"review": TEXTS}), LABELS) == made.score(TEXTS, LABELS)


def test_two_fields_are_two_columns(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary, "{first}{mask}{second}")
    frame = pd.DataFrame({"a": TEXTS[:3], "b": TEXTS[3:6], "n": 1})
    wanted = made.predict_proba([{"first": a, "second": b} for a, b in zip(TEXTS[:3], TEXTS[3:6], strict=True)])
    for source, text in (
        (frame, ["a", "b"]),
        (frame, {"first": "a", "second": "b"}),
        (list(zip(frame["a"], frame["b"], strict=True)), None),
        (frame.rename(columns={"a": "first", "b": "second"}), None),
    ):
        np.testing.assert_allclose(made.predict_proba(source, text=text), wanted, atol=1e-7)


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize("name", KINDS | SEVERAL)
def test_missing_labels_are_said_to_be_missing(name: str, missing: Any, small_vocabulary: dict[str, int]) -> None:
    made = (KINDS | SEVERAL)[name](small_vocabulary).set_params(fitting=Fitting(max_steps=1))
    labels = [LABELS[0], missing, LABELS[1], missing]
    with pytest.warns(UserWarning, match=r"^2 of 4 rows have no label: losses over labels pass over such rows; "):
        made.fit(TEXTS[:4], labels)
    for measure in (
        lambda: made.score(TEXTS[:4], labels),
        lambda: made.fit(TEXTS[:4], LABELS[:4], validation=(TEXTS[:4], labels)),  # type: ignore[call-arg]
    ):
        with pytest.raises(ValueError, match=r"^y contains no label for row 1 \(None or NaN; 2 of 4 rows\): each row"):
            measure()
    with pytest.raises(ValueError, match=r"^none of the 4 rows has a label; give labels that are not None or NaN$"):
        made.fit(TEXTS[:4], [missing] * 4)
    with pytest.raises(ValueError, match=r"^no examples; give at least one text with a label$"):
        made.fit([], [])


def test_a_missing_label_leaves_the_others_as_they_are(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary, words={1: "很", 0: "不"})
    frame = pd.DataFrame({"text": [*TEXTS[:4], "今天"], "label": [1, 0, 1, 0, None]})
    with pytest.warns(UserWarning, match=r"^1 of 5 rows has no label: "):
        assert {type(found) for found in made.fit(frame).predict(frame)} == {int}
    with pytest.raises(ValueError, match=r"^none of the 5 rows has a label"):
        made.fit(frame.assign(label=None))


@pytest.mark.parametrize("name", KINDS | SEVERAL)
def test_one_answer_to_all_is_said_to_be_one(name: str, small_vocabulary: dict[str, int]) -> None:
    made = (KINDS | SEVERAL)[name](small_vocabulary).set_params(fitting=Fitting(max_steps=1))
    if name != "demonstrated":  # which refuses a label that has nothing to demonstrate it
        with pytest.warns(
            UserWarning, match=r"^the label of all 4 rows is 'good', so that fit learns to answer nothin"
        ):
            made.fit(TEXTS[:4], ["good"] * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.fit(TEXTS[:4], LABELS[:4])


def test_the_step_may_be_chosen_and_training_stopped(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    steps: list[int] = []

    class Counting(PetLoss):
        def terms(self, batch: Any, items: Any) -> Any:
            steps.append(1)
            return super().terms(batch, items)

    made = prompted(small_vocabulary)
    made.set_params(fitting=Fitting(max_steps=20, learning_rate=0.0, batch_size=4, patience=2, validation_share=0.3))
    made.fit(TEXTS, LABELS, objective=lambda classifier: Counting(classifier, alpha=1.0))
    assert len(steps) == 6  # an evaluation at each second step: the first is the best, two more are no better
    made.set_params(fitting=Fitting(max_steps=2, output_dir=tmp_path))
    made.fit(TEXTS, LABELS, validation=(TEXTS[:2], LABELS[:2]))
    assert (tmp_path / "best" / "metrics.json").is_file()
    with pytest.raises(ValueError, match="patience=2 needs examples to judge by"):
        made.set_params(fitting=Fitting(patience=2)).fit(TEXTS, LABELS)


@pytest.mark.parametrize("change", [{"max_steps": 0}, {"validation_share": 1.0}, {"patience": 0}, {"batch_size": 0}])
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}={next(iter(change.values()))}"):
        Fitting(**change)


def test_settings_of_a_fit_are_a_fitting(small_vocabulary: dict[str, int]) -> None:
    wrong: Any = {"max_steps": 2}
    made = prompted(small_vocabulary)
    makers: list[Callable[[], Any]] = [
        lambda: PetClassifier(made.model, made.tokenizer, "{text}{mask}", WORDS, fitting=wrong),
        lambda: HeadClassifier(*head(small_vocabulary), ["good", "bad"], fitting=wrong),
        lambda: Ensemble([made], fitting=wrong),
        lambda: made.set_params(fitting=wrong),
    ]
    for make in makers:
        with pytest.raises(TypeError, match=r"fitting={'max_steps': 2} must be a nlpkit.pet.Fitting, e.g. fitting="):
            make()


def test_tools_that_number_labels_are_told_what_they_want(small_vocabulary: dict[str, int]) -> None:
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import cross_val_predict

    made = prompted(small_vocabulary).set_params(fitting=Fitting(max_steps=1))
    voting = VotingClassifier([("first", made), ("second", made)], voting="soft")
    message = "number the labels themselves want labels 0 to 1"
    with pytest.raises(ValueError, match=message):
        cross_val_predict(made, TEXTS, LABELS, cv=2, method="predict_proba")
    with pytest.raises(ValueError, match=message):
        voting.fit(TEXTS, LABELS)
    made.set_params(verbalizer={1: "很", 0: "不"})
    numbers = np.array([label == "good" for label in LABELS]).astype(int)
    assert cross_val_predict(made, TEXTS, numbers, cv=2, method="predict_proba").shape == (len(TEXTS), 2)
    assert set(voting.fit(TEXTS, numbers).predict(TEXTS)) <= {0, 1}


def test_an_objective_gets_unlabelled_texts(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary)
    made.fit(TEXTS, LABELS, unlabelled=pd.Series(TEXTS), objective=lambda classifier: PetLoss(classifier, alpha=0.5))
    with pytest.raises(ValueError, match="needs unlabelled texts"):
        made.fit(TEXTS, LABELS, objective=lambda classifier: PetLoss(classifier, alpha=0.5))


def test_patterns_and_words_are_changed_by_parameters_alone(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary)
    with pytest.raises(AttributeError):
        made.pattern = "{text}{mask}"  # type: ignore[misc, assignment]
    with pytest.raises(ValueError, match=r"has no \{mask\}"):
        made.set_params(pattern="{text}")
    assert made.pattern.template == "{mask}满意。{text}"
    changed = copy.deepcopy(made).set_params(pattern="{text}{mask}")
    wanted = prompted(small_vocabulary, "{text}{mask}").predict_proba(TEXTS)
    np.testing.assert_array_equal(changed.predict_proba(TEXTS), wanted)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_batches_have_a_size(name: str, size: float, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[name](small_vocabulary)
    if name != "demonstrated":  # which is calibrated once it has something to show
        before = made.predict_proba([""])
        with pytest.raises((ValueError, TypeError), match=f"batch_size={size}: give a whole number at least 1"):
            made.calibrate([""], batch_size=size)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(made.predict_proba([""]), before)
    for ask in (made.predict, made.predict_proba, made.scores):
        with pytest.raises((ValueError, TypeError), match=f"batch_size={size}: give a whole number at least 1"):
            ask(TEXTS, batch_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_no_answers(name: str, value: float, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[name](small_vocabulary)
    if name == "demonstrated":
        made.set_params(support=[Example({"text": text}, label) for text, label in zip(TEXTS, LABELS, strict=True)])
    member = made.members[0] if isinstance(made, Ensemble) else made
    *_, bias = member.model.parameters()  # type: ignore[attr-defined]
    with torch.no_grad():
        bias.fill_(value)
    for ask in (
        lambda: made.predict(TEXTS),
        lambda: made.predict_proba(TEXTS),
        lambda: made.score(TEXTS, LABELS),
        lambda: made.calibrate([""]),  # type: ignore[attr-defined]
    ):
        with pytest.raises(ValueError, match=r"the scores of \d+ of \d+ texts are NaN or infinite; the model's weigh"):
            ask()
    assert getattr(member, "prior", None) is None


@pytest.mark.parametrize("name", ["words", "head", "choice", "demonstrated"])
def test_training_that_diverges_says_so_and_leaves_the_weights(name: str, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[name](small_vocabulary).set_params(fitting__learning_rate=1e30)
    before = {key: tensor.clone() for key, tensor in made.state_dict().items()}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"training has diverged at learning_rate=1e\+30, which may be too high: "):
        made.fit(TEXTS, LABELS)
    for key, tensor in made.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(tensor, before[key])


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"validation_share": float("nan")},
        {"max_steps": 1.5},
        {"batch_size": -1},
        {"seed": None},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_settings_that_are_no_numbers_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(change))}={next(iter(change.values()))}: give a "):
        Fitting(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prior_is_of_numbers(value: float, small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"prior=\[.*\] must be finite numbers; leave it out, and calibrate again"):
        prompted(small_vocabulary, prior=[0.0, value])


@pytest.mark.parametrize("change", [{"seed": -1}, {"seed": 0.5}, {"samplings": 0}, {"demonstration_length": 0}])
def test_what_draws_demonstrations_is_whole(change: dict[str, Any], small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(
        (ValueError, TypeError), match=f"{next(iter(change))}={next(iter(change.values()))}: give a wh"
    ):
        demonstrated(small_vocabulary).set_params(**change)


FORGED = "酒店 [SEP] 很好 [MASK] [PAD] </s> <extra_id_0> <extra_id_1> [CLS]"


@pytest.mark.parametrize("name", [name for name in KINDS if name != "ensemble"])
def test_special_tokens_in_a_text_stay_text(name: str, small_vocabulary: dict[str, int]) -> None:
    made: Any = KINDS[name](small_vocabulary)
    if name == "demonstrated":
        made.set_params(support=[Example({"text": text}, label) for text, label in zip(TEXTS, LABELS, strict=True)])

    def special(text: str) -> list[list[int]]:
        batch = made.collate([Example.of(text)])
        known = set(made.tokenizer.all_special_ids) - {made.tokenizer.unk_token_id}
        rows = zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True)
        return [[token for token, seen in zip(*row, strict=True) if seen and token in known] for row in rows]

    assert special(FORGED) == special("酒店")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ids: prompted(ids, words=["很", "不"]), r"words must map each label to its words; got \['很', '不'\]"),
        (lambda ids: prompted(ids, 5), "a pattern is a text such as .*; got 5"),
        (
            lambda ids: ChoiceClassifier(*head(ids, 1), "{text}", ["很"]),
            "hypotheses=.* must map labels to texts",
        ),  # type: ignore[arg-type]
    ],
    ids=["verbalizer", "pattern", "hypotheses"],
)
def test_arguments_of_another_kind_are_named(make: Any, message: str, small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=message):
        make(small_vocabulary)


def test_heads_and_choices_have_no_missing_label(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="labels must be texts or numbers"):
        HeadClassifier(*head(small_vocabulary), [None, "bad"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="labels must be texts or numbers"):
        ChoiceClassifier(*head(small_vocabulary, 1), "{text}", {None: "很", "bad": "不"})


def test_another_model_forgets_what_the_first_one_began_with(small_vocabulary: dict[str, int]) -> None:
    made = prompted(small_vocabulary).fit(TEXTS, LABELS)
    other = small_model(len(small_vocabulary)).float()
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(2)
    wanted = other.get_input_embeddings().weight.clone()
    made.set_params(model=other).restart()
    assert torch.equal(made.model.get_input_embeddings().weight, wanted)


def test_labels_of_files_are_those_of_the_classifier(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    names: dict[Any, str] = {1: "好", 0: "不"}
    (tmp_path / "a.csv").write_text("text,label\n酒店很好,1\n酒店不好,0\n")
    for made in (
        prompted(small_vocabulary, words=names),
        Ensemble([prompted(small_vocabulary, words=names)]),
        several(small_vocabulary, "{text}{label}很{mask}", ("好", "不"), names),
    ):
        assert {type(label) for label in made.fit(tmp_path / "a.csv").classes_.tolist()} == {int}
    with_texts = prompted(small_vocabulary, words=names).fit(["酒店很好", "酒店不好"], ["1", "0"])
    assert {type(label) for label in with_texts.predict(TEXTS)} == {str}  # as they were given
