"""Saved classifiers are found as any model is: in a folder, in the package, or on the Hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import hub

from nlpkit.pet import (
    ChoiceClassifier,
    DemonstratedClassifier,
    Ensemble,
    Example,
    Fitting,
    HeadClassifier,
    MultiLabelClassifier,
    PetClassifier,
    SentinelClassifier,
    Verbalizer,
    load_classifier,
    mean_states,
)
from nlpkit.pet.classifiers.prompted_classifier import PromptedClassifier
from tests.pet.classifiers.test_estimator import KINDS as ALL_KINDS
from tests.pet.classifiers.test_multi_label import by_words
from tests.pet.classifiers.test_sentinels import classifier as sentinel_classifier
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier
from tests.pet.objectives.test_soft_prompt import soft_classifier

KINDS: dict[str, Callable[[dict[str, int]], PromptedClassifier]] = {
    "words": lambda vocabulary: small_classifier(vocabulary, verbalizer=Verbalizer(WORDS, aggregate="max")),
    "soft tokens": soft_classifier,
    "sentinels": lambda vocabulary: sentinel_classifier(),
}


def as_repository(folder: Path, cache: Path, revision: str = "main", number: int = 0) -> None:
    """Put a saved folder where the Hub's client keeps a revision of ``someone/words``."""
    repository, commit = cache / "models--someone--words", str(number) * 40
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit, dirs_exist_ok=True)


@pytest.mark.parametrize("name", KINDS)
def test_a_repositorys_own_settings_are_honoured(name: str, small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    saved = KINDS[name](small_vocabulary).float().calibrate(TEXTS)
    saved.save_pretrained(tmp_path / "saved")
    as_repository(tmp_path / "saved", tmp_path / "cache")
    where = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    again = type(saved).from_pretrained("someone/words", **where)
    assert again.settings() == saved.settings()
    assert again.prior is not None
    np.testing.assert_array_equal(again.predict_proba(TEXTS), saved.predict_proba(TEXTS))
    with pytest.warns(UserWarning, match="is of another pattern or other labels, and is left out; calibrate again"):
        other = type(saved).from_pretrained("someone/words", verbalizer={"a": "好", "b": "不", "c": "人"}, **where)
    assert other.prior is None
    assert (other.labels, other.pattern.template) == (("a", "b", "c"), saved.pattern.template)


def test_a_revision_and_a_subfolder_are_found(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    for number, (revision, pattern) in enumerate({"main": "{mask}满意。{text}", "older": "{text}很{mask}"}.items()):
        saved = small_classifier(small_vocabulary, pattern).float()
        saved.save_pretrained(tmp_path / revision)
        saved.save_pretrained(tmp_path / revision / "inner")
        as_repository(tmp_path / revision, tmp_path / "cache", revision, number)
    where = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    for source, options in (
        ("someone/words", where | {"revision": "older"}),
        ("someone/words", where | {"revision": "older", "subfolder": "inner"}),
        (tmp_path / "older", {"subfolder": "inner"}),
    ):
        found = PetClassifier.from_pretrained(source, **options)
        assert found.pattern.template == "{text}很{mask}"
        np.testing.assert_array_equal(found.predict_proba(TEXTS), saved.predict_proba(TEXTS))


def test_every_classifier_is_made_from_a_repository_and_from_a_shipped_model(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    small_classifier(small_vocabulary).float().save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "pet.json").unlink()
    as_repository(tmp_path / "saved", tmp_path / "cache")
    where = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    words = {"good": "好", "bad": "不", "mixed": "人"}
    for source, options in (("someone/words", where), ("wobert-mini-zh", {})):
        found = [
            PetClassifier.from_pretrained(source, "{text}{mask}", words, max_length=32, **options),
            DemonstratedClassifier.from_pretrained(
                source, "{text}{mask}", words, support=labelled_examples(), demonstration_length=8, **options
            ),
            HeadClassifier.from_pretrained(source, list(words), **options),
            ChoiceClassifier.from_pretrained(source, "{text}", words, **options),
        ]
        assert [classifier.labels for classifier in found] == [tuple(words)] * 4
    with pytest.raises(FileNotFoundError, match="'someone/else' is no folder here and none of the models by name"):
        PetClassifier.from_pretrained("someone/else", "{text}{mask}", words, **where)
    with pytest.raises(ValueError, match="someone/words holds no saved classifier; give a pattern"):
        PetClassifier.from_pretrained("someone/words", **where)


def by_label(made: PromptedClassifier) -> dict[str, Any]:
    """A table to demonstrate from."""
    return {"text": TEXTS[: len(made.labels)], "label": list(made.labels)}


@pytest.mark.parametrize("form", ["table", "frame", "records", "examples"])
def test_what_is_given_is_read_as_the_class_reads_it(
    form: str, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    plain = small_classifier(small_vocabulary).float()
    plain.save_pretrained(tmp_path)
    (tmp_path / "pet.json").unlink()
    table = by_label(plain)
    examples = [Example({"text": a}, b) for a, b in zip(*table.values(), strict=True)]
    support: Any = {
        "table": lambda: table,
        "frame": lambda: pytest.importorskip("pandas").DataFrame(table),
        "records": lambda: [{"text": a, "label": b} for a, b in zip(*table.values(), strict=True)],
        "examples": lambda: examples,
    }[form]()
    settings: Any = {"demonstration_length": 12, "samplings": 1, "max_length": 64}
    made = DemonstratedClassifier.from_pretrained(tmp_path, "{mask}。{text}", WORDS, support=support, **settings)
    assert made.support == examples
    made.save_pretrained(tmp_path / "saved")
    again = DemonstratedClassifier.from_pretrained(tmp_path / "saved")
    assert again.support == examples
    np.testing.assert_array_equal(again.predict_proba(TEXTS), made.predict_proba(TEXTS))
    other = DemonstratedClassifier.from_pretrained(tmp_path / "saved", support={**table, "text": TEXTS[-3:]})
    assert [one.fields["text"] for one in other.support] == TEXTS[-3:]


def test_a_saved_encoder_is_not_asked_for_where_another_is_given(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    plain = small_classifier(small_vocabulary).float()
    encoder = mean_states(small_classifier(small_vocabulary).model.float(), plain.tokenizer, 12)
    made = DemonstratedClassifier(
        plain.model, plain.tokenizer, "{mask}。{text}", WORDS, by_label(plain), 1, 12, text_encoder=encoder
    )
    made.save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "text_encoder")
    again = DemonstratedClassifier.from_pretrained(tmp_path, text_encoder=encoder)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), made.predict_proba(TEXTS))


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"torch_dtype": torch.bfloat16}, {"device_map": "cpu"}])
def test_what_is_the_models_goes_to_the_model(
    settings: dict[str, Any], small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    plain = small_classifier(small_vocabulary).float()
    plain.save_pretrained(tmp_path / "prompted")
    plain.model.save_pretrained(tmp_path / "model")
    plain.tokenizer.save_pretrained(tmp_path / "model")
    Ensemble([plain, plain]).save_pretrained(tmp_path / "ensemble")
    texts = {"good": "很好", "bad": "不好"}
    made: list[Any] = [
        load_classifier(tmp_path / "prompted", **settings),
        PetClassifier.from_pretrained(tmp_path / "model", "{mask}{text}", WORDS, max_length=32, **settings),
        MultiLabelClassifier.from_pretrained(tmp_path / "model", "{mask}{text}", {"a": "很", "b": "不"}, **settings),
        HeadClassifier.from_pretrained(tmp_path / "model", ["good", "bad"], **settings),
        ChoiceClassifier.from_pretrained(tmp_path / "model", "{text}", texts, **settings),
        *Ensemble.from_pretrained(tmp_path / "ensemble", **settings).members,
    ]
    for one in made:
        assert one.model.dtype == (torch.float32 if "device_map" in settings else torch.bfloat16)
        assert np.isfinite(one.predict_proba(TEXTS)).all()
    with pytest.raises(TypeError, match="unexpected keyword argument 'patern': it is no argument of the class"):
        PetClassifier.from_pretrained(tmp_path / "model", patern="{mask}{text}", pattern="{mask}{text}")


FITTING = Fitting(max_steps=7, learning_rate=0.02, class_weight={"good": 2.0, "bad": 1.0}, patience=3, seed=5)


@pytest.mark.parametrize("name", [*ALL_KINDS, "several labels"])
def test_how_it_is_fitted_is_saved(name: str, small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    seed: Any = np.int64(5)
    given = replace(FITTING, seed=seed, output_dir=tmp_path / "run")
    made: Any
    if name == "several labels":
        one = by_words(small_vocabulary)
        made = MultiLabelClassifier(one.model, one.tokenizer, one.pattern, one.words, fitting=given)
    else:
        made = ALL_KINDS[name](small_vocabulary).set_params(fitting=given)
    made.save_pretrained(tmp_path / "saved")
    assert load_classifier(tmp_path / "saved").fitting == FITTING
    own = Fitting(max_steps=2)
    if name != "ensemble":
        assert load_classifier(tmp_path / "saved", fitting=own).fitting == own
    for file in (tmp_path / "saved").rglob("pet.json"):
        settings = json.loads(file.read_text())
        assert str(tmp_path) not in file.read_text()
        del settings["fitting"]  # as folders were saved before
        file.write_text(json.dumps(settings))
    assert load_classifier(tmp_path / "saved").fitting == Fitting()


def test_what_is_pushed_to_the_hub_loads_again(
    small_vocabulary: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hub:
        """Takes what is uploaded, in a folder's place."""

        repo_id = "someone/words"

        def create_repo(self, repo_id: str, **settings: Any) -> Hub:
            return self

        def create_commit(self, repo_id: str, operations: list[Any], **settings: Any) -> None:
            for operation in operations:
                path = tmp_path / "pushed" / operation.path_in_repo
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(operation.path_or_fileobj, path)

    class Card:
        def save(self, path: str) -> None:
            Path(path).write_text("---\n---\n")

    saved = small_classifier(small_vocabulary).float()
    with monkeypatch.context() as patch:
        patch.setattr(hub, "hf_api", Hub)
        patch.setattr(hub, "create_and_tag_model_card", lambda *args, **settings: Card())
        saved.push_to_hub("someone/words")
    as_repository(tmp_path / "pushed", tmp_path / "cache")
    again = PetClassifier.from_pretrained("someone/words", cache_dir=tmp_path / "cache", local_files_only=True)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), saved.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "it is not valid JSON"),
        ("[]", "must hold a JSON object; it holds a list"),
        ("\xff\xfe", "it is not valid JSON"),
        ({"pattern": None}, "pattern cannot be None"),
        ({"pattern": "{text}"}, "has no {mask}"),
        ({"pattern": "{mask}{text"}, "is broken"),
        ({"verbalizer": "words"}, "verbalizer cannot be 'words'"),
        ({"verbalizer": {}}, "missing 1 required positional argument: 'words'"),
        ({"verbalizer": {"words": ["good"]}}, r"words must map each label to its words; got \['good'\]"),
        ({"verbalizer": {"words": {"good": 1, "bad": "不"}}}, "the words of label 'good' must be texts; got 1"),
        ({"verbalizer": {"words": {"good": [["很", 2]], "bad": "不"}}}, "the words of label 'good' must be texts"),
        ({"verbalizer": {"words": {"good": "很"}}}, "needs words for at least two labels"),
        ({"verbalizer": {"words": WORDS, "order": "backwards"}}, "order='backwards' is unknown"),
        ({"verbalizer": {"words": WORDS, "orders": "parallel"}}, "unexpected keyword argument 'orders'"),
        ({"max_length": "64"}, "max_length cannot be '64'"),
        ({"max_length": 0}, "max_length cannot be 0"),
        ({"max_length": True}, "max_length cannot be True"),
        ({"prior": 0.5}, "prior cannot be 0.5"),
        ({"prior": [0.1, "0.2", 0.7]}, "prior cannot be"),
        ({"prior": []}, "prior has 0 numbers, not one per label"),
        ({"prior": [0.5, 0.5]}, "prior has 2 numbers, not one per label"),
        ({"soft_token_ids": [1.5]}, r"soft_token_ids cannot be \[1.5\]"),
        ({"soft_token_ids": [7]}, "soft_token_ids are not the 0 of pattern"),
        (
            {"words": "pet"},
            "unknown setting 'words'; known are pattern, verbalizer, max_length, prior, soft_token_ids",
        ),
        ({"kind": "pet"}, "describes a pet, not a PetClassifier; load it with nlpkit.pet.load_classifier"),
        ({"classes": [1]}, "classes has 1 numbers, not one per label"),
    ],
)
def test_broken_settings_are_one_error_that_names_the_file(
    change: str | dict[str, Any], message: str, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    small_classifier(small_vocabulary).save_pretrained(tmp_path)
    file = tmp_path / "pet.json"
    content = change if isinstance(change, str) else json.dumps(json.loads(file.read_text("utf-8")) | change)
    file.write_bytes(content.encode("latin-1" if content.startswith("\xff") else "utf-8"))
    with pytest.raises(ValueError, match=message) as found:
        PetClassifier.from_pretrained(tmp_path)
    assert str(file) in str(found.value)


@pytest.mark.parametrize("left", [0, 40, 4_000])
def test_weights_that_were_cut_off_are_named(left: int, small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    small_classifier(small_vocabulary).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"the weights in {tmp_path} are damaged or cut off"):
        PetClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("missing", ["pattern", "verbalizer"])
def test_missing_settings_are_named_with_the_file(
    missing: str, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    small_classifier(small_vocabulary).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "pet.json").read_text("utf-8"))
    del settings[missing]
    (tmp_path / "pet.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=rf"{tmp_path}/pet\.json does not describe .*: {missing} is missing"):
        PetClassifier.from_pretrained(tmp_path)


def test_a_classifier_of_another_kind_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    small_classifier(small_vocabulary).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"pet\.json describes a PetClassifier, not a SentinelClassifier"):
        SentinelClassifier.from_pretrained(tmp_path)
