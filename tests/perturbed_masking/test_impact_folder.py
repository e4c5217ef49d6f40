"""Matrices on disk: order, resuming after an interruption, and what a folder refuses to mix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertTokenizer

from nlpkit.files import only_writer
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.impact_folder import ImpactFolder
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from tests.perturbed_masking.small_models import SENTENCES, bert, tokenizer


def masking(**settings: Any) -> PerturbedMasking:
    return PerturbedMasking(bert().double(), tokenizer(), show_progress=False, **settings)


def test_what_is_read_is_what_was_measured_in_order(tmp_path: Path) -> None:
    measures = [Measure(1), Measure(3, "cosine")]
    folder = ImpactFolder(tmp_path / "impact")
    assert folder.fill(masking(), iter(SENTENCES), measures, sentences_per_file=3) == len(SENTENCES)
    for one, other in zip(folder, masking().iter_measures(SENTENCES, measures), strict=True):
        np.testing.assert_array_equal(one, other.matrices)
    assert sorted(path.name for path in folder.path.iterdir() if path.name != ".lock") == [
        *(f"{number:06d}.safetensors" for number in range(4)),
        "impact.json",
    ]


def test_an_interruption_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ImpactFolder(tmp_path / "impact")
    parser = masking(batch_tokens=1)  # so that windows are small
    with pytest.raises(KeyboardInterrupt):
        folder.fill(parser, interrupted_after(SENTENCES * 3, 25), sentences_per_file=3)
    written = len(list(folder))
    assert written in (18, 21, 24)
    assert folder.fill(parser, SENTENCES * 3, sentences_per_file=3) == 30 - written
    for one, other in zip(folder, masking().impact(SENTENCES * 3), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-6, atol=1e-8)

    def never(*_: Any) -> None:
        raise AssertionError("nothing is left to measure")

    monkeypatch.setattr(MaskedEncoder, "states", never)
    assert folder.fill(parser, SENTENCES * 3, sentences_per_file=3) == 0


def interrupted_after(sentences: list[Any], count: int) -> Iterator[Any]:
    yield from sentences[:count]
    raise KeyboardInterrupt


@pytest.mark.slow
def test_ten_thousand_sentences_stream_and_resume(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path / "impact")
    parser = masking()
    ahead = [0]

    def texts(count: int) -> Iterator[str]:
        for number in range(count):
            ahead[0] = max(ahead[0], number - 64 * len(list(folder.path.glob("*.safetensors"))))
            yield "今天天气不错我们去吧"[number % 7 : number % 7 + 2 + number % 3]
        if count < 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.fill(parser, texts(6000))
    assert ahead[0] <= 1024 + 64  # a window in work, and a file that is not full
    assert folder.fill(parser, texts(10_000)) <= 10_000 - 6000 + 1024 + 64
    assert sum(1 for _ in folder) == 10_000


def test_a_corpus_may_grow(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path / "impact")
    folder.fill(masking(), SENTENCES[:4], sentences_per_file=3)
    assert (
        folder.fill(masking(), SENTENCES, sentences_per_file=3) == len(SENTENCES) - 3
    )  # the file of one is written anew
    assert [matrices.shape[1] for matrices in folder] == [len(matrix) for matrix in masking().impact(SENTENCES)]


@pytest.mark.parametrize("size", [0, 5, 100])
def test_a_broken_file_is_named_and_written_again_once_it_is_deleted(tmp_path: Path, size: int) -> None:
    folder = ImpactFolder(tmp_path)
    folder.fill(masking(), SENTENCES, sentences_per_file=3)
    broken = tmp_path / "000001.safetensors"
    broken.write_bytes(broken.read_bytes()[:size])
    message = r"000001\.safetensors is damaged or cut off .*; delete it, and ImpactFolder\.fill will write it again"
    with pytest.raises(ValueError, match=message):
        list(folder)
    with pytest.raises(ValueError, match=message):
        folder.fill(masking(), SENTENCES, sentences_per_file=3)
    broken.unlink()
    assert folder.fill(masking(), SENTENCES, sentences_per_file=3) == len(SENTENCES) - 3
    assert [matrices.shape[1] for matrices in folder] == [len(matrix) for matrix in masking().impact(SENTENCES)]


def test_files_behind_a_missing_one_are_of_its_settings_and_sentences(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path)
    folder.fill(masking(measure=Measure(1)), SENTENCES, sentences_per_file=2)
    (tmp_path / "000000.safetensors").unlink()
    with pytest.raises(ValueError, match="holds results made with other settings: measures was"):
        folder.fill(masking(measure=Measure(2)), SENTENCES, sentences_per_file=2)
    assert folder.fill(masking(measure=Measure(1)), SENTENCES[2:4], sentences_per_file=2) == 2
    assert len(list(folder)) == 2
    for one, other in zip(folder, masking(measure=Measure(1)).impact(SENTENCES[2:4]), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-6, atol=1e-8)


def test_one_process_fills_a_folder_at_a_time(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path)
    with only_writer(tmp_path), pytest.raises(BlockingIOError, match=f"is writing to {tmp_path}"):
        folder.fill(masking(), SENTENCES)
    assert folder.fill(masking(), SENTENCES) == len(SENTENCES)


def test_a_folder_that_holds_no_result_yet_takes_new_settings(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        folder.fill(masking(), interrupted_after(SENTENCES, 1))
    assert folder.fill(masking(measure=Measure(1)), SENTENCES) == len(SENTENCES)


def test_sentences_of_a_treebank_are_their_words(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path)
    assert folder.fill(masking(), [Sentence.of(["今天", "天气"])]) == 1
    assert folder.fill(masking(), [["今天", "天气"]]) == 0


@pytest.mark.parametrize(
    "others", [["完全不同"], SENTENCES[:1], [], [*SENTENCES[:3], "去吧", *SENTENCES[4:]], ["去吧"] * 20]
)
@pytest.mark.parametrize("sentences_per_file", [64, len(SENTENCES), 4])
def test_what_is_kept_stays_whatever_other_sentences_are_given(
    tmp_path: Path, others: list[Any], sentences_per_file: int
) -> None:
    folder = ImpactFolder(tmp_path)
    folder.fill(masking(), SENTENCES, sentences_per_file=sentences_per_file)
    before = [path.read_bytes() for path in sorted(tmp_path.glob("*.safetensors"))]
    with pytest.raises(ValueError, match="holds the matrices of"):
        folder.fill(masking(), others, sentences_per_file=sentences_per_file)
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.safetensors"))] == before


@pytest.mark.parametrize("changed", [{"hidden_act": "relu"}, {"num_attention_heads": 4}, {"layer_norm_eps": 1e-2}])
def test_matrices_of_the_same_weights_with_other_settings_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Settings without a weight change what is measured, too."""
    folder, model = ImpactFolder(tmp_path), bert()
    other = bert(**changed)
    other.load_state_dict(model.state_dict())
    folder.fill(PerturbedMasking(model, tokenizer(), show_progress=False), SENTENCES)
    with pytest.raises(ValueError, match="made with other settings: model was"):
        folder.fill(PerturbedMasking(other, tokenizer(), show_progress=False), SENTENCES)


def test_matrices_of_other_tokens_are_refused(tmp_path: Path) -> None:
    folder, model = ImpactFolder(tmp_path), bert()
    folder.fill(PerturbedMasking(model, tokenizer(), show_progress=False), ["THE cat"])
    cased = BertTokenizer(vocab=tokenizer().get_vocab(), do_lower_case=False)
    with pytest.raises(ValueError, match="holds the matrices of other sentences or tokens"):
        folder.fill(PerturbedMasking(model, cased, show_progress=False), ["THE cat"])


def test_fewer_sentences_than_are_kept_are_counted(tmp_path: Path) -> None:
    ImpactFolder(tmp_path).fill(masking(), SENTENCES)
    with pytest.raises(ValueError, match=f"of {len(SENTENCES)} sentences, and 2 are given in their place"):
        ImpactFolder(tmp_path).fill(masking(), SENTENCES[:2])


@pytest.mark.parametrize("number", [0, -1])
def test_a_file_holds_a_sentence_at_least(tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match=f"sentences_per_file={number} must be 1 or more"):
        ImpactFolder(tmp_path).fill(masking(), SENTENCES, sentences_per_file=number)


def test_other_sentences_settings_and_models_are_refused(tmp_path: Path) -> None:
    folder = ImpactFolder(tmp_path)
    folder.fill(masking(), SENTENCES, sentences_per_file=3)
    with pytest.raises(ValueError, match=r"000001\.safetensors holds the matrices of other sentences"):
        folder.fill(masking(), [*SENTENCES[:4], "去吧", *SENTENCES[5:]], sentences_per_file=3)
    with pytest.raises(ValueError, match=r"measures was \[\[3, 'euclidean', 'vectors'\]\] and is now \[\[2, "):
        folder.fill(masking(measure=Measure(2)), SENTENCES, sentences_per_file=3)
    with pytest.raises(ValueError, match="made with other settings: model was"):
        other = PerturbedMasking(bert(hidden_size=8), tokenizer(), show_progress=False)
        folder.fill(other, SENTENCES, sentences_per_file=3)
    with pytest.raises(FileNotFoundError, match=r"holds no impact\.json; ImpactFolder\.fill writes one"):
        list(ImpactFolder(tmp_path / "nowhere"))
