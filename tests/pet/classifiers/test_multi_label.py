"""Any number of labels per text, by a pair of words or by words and thresholds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpkit.losses import zlpr
from nlpkit.pet import Fitting, LabelLoss, MultiLabelClassifier
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, small_model

pd = pytest.importorskip("pandas")

TOPICS = [["酒店", "服务"], ["酒店"], [], ["天气"], ["天气", "酒店"], [], ["服务"], ["酒店"]]
NAMES = ["酒店", "服务", "天气"]
FITTING = Fitting(max_steps=30, learning_rate=0.03, batch_size=8)


def by_pairs(vocabulary: dict[str, int], **settings: Any) -> MultiLabelClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    model = small_model(len(tokenizer))
    return MultiLabelClassifier(
        model, tokenizer, "{text}{label}很{mask}", ("好", "不"), NAMES, fitting=FITTING, **settings
    )


def by_words(vocabulary: dict[str, int], **settings: Any) -> MultiLabelClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    words = {"酒店": ["酒店", "房间"], "服务": "服务", "天气": "天气"}
    model = small_model(len(tokenizer))
    return MultiLabelClassifier(model, tokenizer, "{text}{mask}", words, fitting=FITTING, **settings)


KINDS = {"pairs": by_pairs, "words": by_words}


def logs(made: MultiLabelClassifier, text: str) -> torch.Tensor:
    with torch.no_grad():
        inputs = made.tokenizer(text.replace("*", "[MASK]"), return_tensors="pt")
        place = inputs["input_ids"][0].tolist().index(made.tokenizer.mask_token_id)
        return made.model(**inputs).logits[0, place].log_softmax(-1)


def test_scores_are_what_the_model_says_at_the_mask(small_vocabulary: dict[str, int]) -> None:
    ids = small_vocabulary
    pairs = by_pairs(small_vocabulary, thresholds=[0.5, 0.0, -1.0])
    words = by_words(small_vocabulary, thresholds=[-1.0, -2.0, -3.0])
    found = pairs.scores(TEXTS), words.scores(TEXTS)
    for number, text in enumerate(TEXTS):
        asked = [logs(pairs, f"{text}{name}很*") for name in NAMES]
        wanted = [float(one[ids["好"]] - one[ids["不"]]) for one in asked]
        np.testing.assert_allclose(found[0][number], np.subtract(wanted, [0.5, 0.0, -1.0]), atol=1e-10)
        one = logs(words, f"{text}*")
        wanted = [float(one[ids["酒店"]] + one[ids["房间"]]) / 2, float(one[ids["服务"]]), float(one[ids["天气"]])]
        np.testing.assert_allclose(found[1][number], np.add(wanted, [1.0, 2.0, 3.0]), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_above_the_threshold_are_predicted(kind: str, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[kind](small_vocabulary).calibrate([*TEXTS])
    scores = made.scores(TEXTS)
    np.testing.assert_allclose(scores.mean(dim=0), 0, atol=1e-6)
    shares = made.predict_proba(TEXTS)
    columns = [NAMES.index(name) for name in made.classes_]
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-2 * scores.numpy()[:, columns])), rtol=1e-6)
    assert list(made.classes_) == sorted(NAMES)
    for row, labels in zip(shares, made.predict(TEXTS), strict=True):
        assert sorted(labels) == [name for name, share in zip(made.classes_, row, strict=True) if share > 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_by_zlpr(kind: str, small_vocabulary: dict[str, int]) -> None:
    made = KINDS[kind](small_vocabulary)
    examples = made.labelled([*TEXTS, "今天"], [*TOPICS, None]).examples
    objective = LabelLoss(made)
    batch = made.collate(examples)
    targets = torch.tensor([[int(name in own) for name in NAMES] for own in TOPICS])
    assert torch.equal(batch["labels"][:-1], targets)
    assert objective.items(batch).tolist() == [len(TOPICS)]
    found = objective(**batch)["loss"]
    torch.testing.assert_close(found, zlpr(made.scores(TEXTS), targets).mean(), rtol=0, atol=1e-10)
    made = made.float().fit(TEXTS, TOPICS)
    assert made.score(TEXTS, TOPICS) >= 0.75
    assert made.score(pd.DataFrame({"text": TEXTS, "label": TOPICS})) == made.score(TEXTS, TOPICS)
    assert made.score(TEXTS, [",".join(own) for own in TOPICS]) == made.score(TEXTS, TOPICS)
    measured = made.measure(made.scores(examples), examples)
    assert measured["accuracy"] > 0.8
    assert np.isfinite(measured["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_a_matrix_are_those_of_scikit_learn(kind: str, small_vocabulary: dict[str, int]) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    from sklearn.metrics import get_scorer, roc_auc_score

    made = KINDS[kind](small_vocabulary).calibrate(TEXTS)
    matrix = preprocessing.MultiLabelBinarizer().fit_transform(TOPICS)
    targets = [made.targets(made.labelled(TEXTS, given).examples) for given in (matrix, TOPICS)]
    assert torch.equal(*targets)
    assert made.score(TEXTS, matrix) == made.score(TEXTS, TOPICS)
    of_each = [
        roc_auc_score([name in own for own in TOPICS], column)
        for name, column in zip(NAMES, made.scores(TEXTS).T, strict=True)
    ]
    assert get_scorer("roc_auc")(made, TEXTS, matrix) == pytest.approx(np.mean(of_each))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": "{text}{mask}"}, "does not ask for a label by its name"),
        ({"words": ("好", "不", "很")}, "words must be a pair"),
        ({"words": {"a": "好"}}, "words must be a pair"),
        ({"names": None}, r"give names=\[\.\.\.\]"),
        ({"names": ["酒店", "酒店"]}, r"labels must differ as texts; got \['酒店', '酒店'\]"),
        ({"names": {1: "酒店", "1": "服务"}}, r"labels must differ as texts; got \[1, '1'\]"),
        ({"names": {"a": "酒店", "b": "酒店"}}, "names '酒店' and '酒店' are the same tokens to this model"),
        ({"names": {"a": "Hello", "b": "hello"}}, "names 'Hello' and 'hello' are the same tokens to this model"),
        ({"thresholds": [1.0]}, "thresholds must be one number per label, 3; got 1"),
        ({"thresholds": [1.0, float("nan"), 0.0]}, r"thresholds=\[.*\] must be finite numbers"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str, small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    settings = {"pattern": "{text}{label}很{mask}", "words": ("好", "不"), "names": NAMES} | change
    with pytest.raises(ValueError, match=message):
        MultiLabelClassifier(small_model(len(tokenizer)), tokenizer, **settings)


def test_labels_are_checked(small_vocabulary: dict[str, int]) -> None:
    made = by_words(small_vocabulary)
    with pytest.raises(ValueError, match="label '饭' is not one of '酒店', '服务', '天气'"):
        made.fit(TEXTS[:1], [["饭"]])
    with pytest.raises(TypeError, match="labels must be a list for each text"):
        made.fit(TEXTS[:1], [3])
    with pytest.raises(ValueError, match="no labels"):
        made.fit(TEXTS[:1])
    with pytest.raises(ValueError, match="class_weight is for examples of one label"):
        LabelLoss(made, {"酒店": 2.0})


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_may_be_set_and_searched(kind: str, small_vocabulary: dict[str, int]) -> None:
    from sklearn.model_selection import GridSearchCV, cross_val_score

    made = KINDS[kind](small_vocabulary).float().calibrate(TEXTS)
    before = made.thresholds
    assert made.set_params(fitting__max_steps=2).fitting.max_steps == 2
    assert torch.equal(made.thresholds, before)
    matrix = np.array([[int(name in own) for name in NAMES] for own in TOPICS])
    assert cross_val_score(made, TEXTS, matrix, cv=2).shape == (2,)
    patterns = [made.pattern.template, "{mask}" + made.pattern.template.replace("{mask}", "")]
    with pytest.warns(UserWarning, match="the calibration was of another pattern or other labels"):
        search = GridSearchCV(made, {"pattern": patterns}, cv=2).fit(TEXTS, matrix)
    assert search.best_params_["pattern"] in patterns
    assert set(np.unique(search.cv_results_["mean_test_score"])) <= set(np.linspace(0, 1, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_belong_to_their_pattern(kind: str, small_vocabulary: dict[str, int], tmp_path: Any) -> None:
    made = KINDS[kind](small_vocabulary).float().fit(TEXTS, TOPICS)
    made.save_pretrained(tmp_path)
    pattern = "{mask}" + made.pattern.template.replace("{mask}", "")
    with pytest.warns(UserWarning, match="calibrate again"):
        loaded = MultiLabelClassifier.from_pretrained(tmp_path, pattern=pattern)
    with pytest.warns(UserWarning, match="calibrate again"):
        made.set_params(pattern=pattern)
    for one in (made, loaded):
        assert not one.thresholds.any()
    made.restart()
    assert not made.thresholds.any()


def test_labels_are_lists_or_marks_in_whatever_holds_them(small_vocabulary: dict[str, int]) -> None:
    made = by_words(small_vocabulary)
    marks = np.array([[int(label in own) for label in made.classes_] for own in TOPICS])
    frame = pd.DataFrame(marks, columns=made.classes_, index=range(9, 1, -1))
    forms = [
        [[str(label) for label in own] for own in TOPICS],
        pd.DataFrame({"topics": TOPICS}),
        *([comma.join(own) for own in TOPICS] for comma in (",", "，", "、", " ， ")),
        marks,
        marks.astype(bool),
        marks.astype(float),
        torch.tensor(marks),
        pytest.importorskip("scipy.sparse").csr_matrix(marks),
        marks.tolist(),
        [*marks],
        frame,
        frame[frame.columns[::-1]].astype(bool),
        pd.get_dummies(pd.Series(TOPICS).explode()).groupby(level=0).max(),
        {label: marks[:, place] for place, label in enumerate(made.classes_)},
        pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False),
    ]
    for form in forms:
        found = made.labelled(TEXTS, form).examples
        assert [set(example.applying) for example in found] == list(map(set, TOPICS)), form  # type: ignore[attr-defined]


def test_a_comma_in_the_name_of_a_label_parts_nothing(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    words = {"酒店、房间": "房间", "服务": "服务"}
    made = MultiLabelClassifier(small_model(len(tokenizer)), tokenizer, "{text}{mask}", words)
    found = made.labelled(TEXTS[:3], ["酒店、房间", "服务", [*words]]).examples
    assert [one.known_labels for one in found] == [("酒店、房间",), ("服务",), tuple(words)]


def numbered(vocabulary: dict[str, int], **settings: Any) -> MultiLabelClassifier:
    tokenizer = WoBertTokenizer(vocabulary)
    names = {0: "酒店", 1: "服务"}
    settings = {"fitting": Fitting(max_steps=1)} | settings
    return MultiLabelClassifier(
        small_model(len(tokenizer)).float(), tokenizer, "{text}{label}很{mask}", ("好", "不"), names, **settings
    )


def test_numbers_of_labels_are_no_marks(small_vocabulary: dict[str, int]) -> None:
    made = numbered(small_vocabulary)
    marks = np.array([[1, 0], [0, 1], [0, 0], [1, 1]])
    wanted = [("0",), ("1",), (), ("0", "1")]
    for form in (marks, pd.DataFrame(marks, columns=[0, 1]), [[0], [1], [], [0, 1]], [["0"], ["1"], [], ["0", "1"]]):
        found = made.labelled(TEXTS[:4], form).examples
        assert [example.applying for example in found] == wanted  # type: ignore[attr-defined]
    for either in (marks.tolist(), [*marks]):
        with pytest.raises(ValueError, match=r"labels \[1, 0\] name labels, or say by 0 or 1 whether each"):
            made.labelled(TEXTS[:4], either)
    assert made.labelled(TEXTS[:1], [["1", "0"]]).examples[0].applying == ("1", "0")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[1, 0]]), r"row 0 of labels must hold a 0 or 1 for each of .*; got \[1, 0\]"),
        (np.array([[0, 1, 2]]), r"row 0 of labels must hold a 0 or 1 for each of .*; got \[0, 1, 2\]"),
        (np.array([[0, 1, np.nan]]), r"row 0 of labels must hold a 0 or 1 for each of .*; got \[0, 1, None\]"),
        (pd.DataFrame({"酒店": [1], "饭": [0]}), "column '饭' of labels is not one of .*; give a table with a column"),
        (pd.DataFrame({"酒店": [["服务"]]}), r"row 0 of labels must hold a 0 or 1 for each of .*; got \["),
    ],
)
def test_marks_are_checked(labels: Any, message: str, small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=message):
        by_words(small_vocabulary).labelled(TEXTS[:1], labels)


def test_rows_without_marks_are_not_known(small_vocabulary: dict[str, int]) -> None:
    found = by_words(small_vocabulary).labelled(TEXTS[:2], np.array([[1, 0, 0], [np.nan] * 3])).examples
    assert [example.applying is None for example in found] == [False, True]  # type: ignore[attr-defined]


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"names": ["天气", "房间", "朋友"]},
        {"names": NAMES[::-1]},
        {"names": NAMES[:2]},
        {"words": ("很", "不")},
        {"pattern": "{label}很{mask}{text}"},
        {"pattern": "{text}{mask}", "words": {"酒店": "酒店", "服务": "服务"}},
    ],
)
def test_thresholds_belong_to_their_question(
    change: dict[str, Any], calibrated: bool, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    made = by_pairs(small_vocabulary).float()
    (made.calibrate([""]) if calibrated else made).save_pretrained(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = MultiLabelClassifier.from_pretrained(tmp_path, **change)
    assert any("is left out; calibrate again" in str(one.message) for one in said) == calibrated
    assert found.thresholds.tolist() == [0.0] * len(found.labels)
    wanted = change.get("names", NAMES) if found.by_pairs else change["words"]
    assert found.labels == tuple(wanted)


def test_thresholds_stay_with_the_same_question(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    made = by_pairs(small_vocabulary).float().calibrate([""])
    made.save_pretrained(tmp_path)
    same = [{}, {"pattern": made.pattern, "words": ("好", ["不"])}, {"names": NAMES}, {"names": {n: n for n in NAMES}}]
    for settings in same:
        found = MultiLabelClassifier.from_pretrained(tmp_path, **settings)  # type: ignore[arg-type]
        torch.testing.assert_close(found.thresholds, made.thresholds)
    found = MultiLabelClassifier.from_pretrained(tmp_path, names=NAMES[:2], thresholds=[1.0, 2.0])
    assert found.thresholds.tolist() == [1.0, 2.0]
    assert list(found.classes_) == sorted(NAMES[:2])
