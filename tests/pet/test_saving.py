"""Saved classifiers are found as any model is: in a folder, in the package, or on the Hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.utils import hub

from nlpkit.pet import (
    ChoiceClassifier,
    DemonstratedClassifier,
    HeadClassifier,
    PetClassifier,
    SentinelClassifier,
    Verbalizer,
)
from nlpkit.pet.classifiers.prompted_classifier import PromptedClassifier
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
    np.testing.assert_array_equal(again.predict_proba(TEXTS), saved.predict_proba(TEXTS))
    other = type(saved).from_pretrained("someone/words", verbalizer={"a": "好", "b": "不", "c": "人"}, **where)
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
            ChoiceClassifier.from_pretrained(source, "{text}", {name: name for name in words}, **options),
        ]
        assert [classifier.labels for classifier in found] == [tuple(words)] * 4
    with pytest.raises(FileNotFoundError, match="'someone/else' is no folder here and no shipped model"):
        PetClassifier.from_pretrained("someone/else", "{text}{mask}", words, **where)
    with pytest.raises(ValueError, match="someone/words holds no saved classifier; give a pattern"):
        PetClassifier.from_pretrained("someone/words", **where)


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
        ({"kind": "pet"}, "unknown setting 'kind'; known are pattern, verbalizer, max_length, prior, soft_token_ids"),
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
    with pytest.raises(ValueError, match=r"pet\.json does not describe .*unknown setting 'soft_token_ids'"):
        SentinelClassifier.from_pretrained(tmp_path)
