"""FewGLUE's tasks: records as the files hold them, and the files themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.fewshot.tasks.fewglue import FEWGLUE, fewglue_task
from nlpkit.fewshot.tasks.folders import FEWGLUE_LAYOUT, TaskFolder

WSC: dict[str, Any] = {
    "text": "Ann saw Eve, and she waved.",
    "target": {"span1_text": "Eve", "span1_index": 2, "span2_text": "she", "span2_index": 4},
    "label": True,
}


@pytest.mark.parametrize("place", [4, 3, 5])
def test_pronoun_is_marked_even_where_its_place_is_off(place: int) -> None:
    record = WSC | {"target": WSC["target"] | {"span2_index": place}}
    assert fewglue_task("WSC").to_example(record).fields["marked"] == "Ann saw Eve, and *she* waved."


def test_pronoun_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"span2 .she. does not stand near word 4 of .Ann waved\.."):
        fewglue_task("WSC").to_example(WSC | {"text": "Ann waved."})
    with pytest.raises(ValueError, match="FewGLUE has no task 'ReCoRD' here; it has BoolQ"):
        fewglue_task("ReCoRD")


def test_choices_are_candidates() -> None:
    record = {"premise": "p", "question": "cause", "choice1": "a", "choice2": "b", "label": 1}
    example = fewglue_task("COPA").to_example(record)
    assert (example.label, example.candidates) == ("1", ("a", "b"))


def test_one_task_has_two_scores() -> None:
    assert list(fewglue_task("CB").score(["entailment"], ["entailment"])) == ["accuracy", "macro_f1"]


@pytest.mark.shared
@pytest.mark.parametrize("name", FEWGLUE)
def test_every_published_file_is_read(name: str, shared_data: Path) -> None:
    folder = TaskFolder(fewglue_task(name), shared_data / "fewglue-32dev" / name, FEWGLUE_LAYOUT)
    assert folder.splits() == (0,)
    assert len(folder.train(0)) == len(folder.dev(0)) == 32
    test = folder.test()
    sizes = {"BoolQ": 3270, "CB": 56, "COPA": 100, "RTE": 277, "WiC": 638, "WSC": 104}
    assert test is not None
    assert len(test) == sizes[name]
    assert folder.unlabelled() is None
