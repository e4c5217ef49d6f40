from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizer, TrainerCallback, TrainingArguments

from nlpkit.files import only_writer
from nlpkit.pet import Fitting
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.objectives.adapet import AdapetLoss
from nlpkit.pet.objectives.full_vocabulary import FullVocabularyLoss
from nlpkit.pet.objectives.pet_loss import PetLoss
from nlpkit.pet.objectives.soft_prompt import PTuningLoss, add_soft_tokens
from nlpkit.pet.training.fitting import hold_out
from nlpkit.pet.training.label_loss import LabelLoss
from nlpkit.pet.training.objective import Objective
from nlpkit.pet.training.scorer import accuracy_and_loss
from nlpkit.pet.training.trainer import PetTrainer, PetTrainingArguments
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.pet.models import TEXTS, WORDS, labelled_examples, small_classifier, small_model

UNLABELLED = [Example.of(text) for text in TEXTS]


def measure(classifier: PetClassifier, examples: list[Example]) -> dict[str, float]:
    labels = torch.tensor([classifier.labels.index(str(example.label)) for example in examples])
    return accuracy_and_loss(classifier.scores(examples), labels)


def settings(folder: Path, **changes: Any) -> PetTrainingArguments:
    given = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.02, "bf16": False, "use_cpu": True}
    return PetTrainingArguments(output_dir=str(folder), disable_tqdm=True, **{**given, **changes})


def weights(objective: Objective) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


OBJECTIVES = {
    "label": (LabelLoss, 0),
    "pet": (lambda classifier: PetLoss(classifier, alpha=0.5), 1),
    "blog": (FullVocabularyLoss, 1),
    "adapet": (AdapetLoss, 0),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_accumulated_steps_equal_large_batches(small_vocabulary: dict[str, int], tmp_path: Path, name: str) -> None:
    make, unlabelled_per_row = OBJECTIVES[name]
    found = []
    for size, accumulation in ((8, 1), (2, 4)):
        objective = make(small_classifier(small_vocabulary).double())
        arguments = settings(
            tmp_path / f"{size}",
            max_steps=2,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            unlabelled_per_row=unlabelled_per_row,
            optim="sgd",
        )
        PetTrainer(objective, arguments, labelled_examples(), unlabelled=UNLABELLED).train()
        found.append(weights(objective))
    start = weights(make(small_classifier(small_vocabulary).double()))
    assert any((found[0][key] - start[key]).abs().max() > 1e-4 for key in start)
    for key in start:
        torch.testing.assert_close(found[0][key], found[1][key], rtol=0, atol=1e-10)


def test_the_best_weights_on_dev_are_kept(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary)
    seen: list[dict[str, float]] = []

    class Watch(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
            seen.append(metrics)

    arguments = settings(tmp_path, eval_steps=1, learning_rate=0.3)
    trainer = PetTrainer(LabelLoss(classifier), arguments, labelled_examples(), labelled_examples()[::-1])
    trainer.add_callback(Watch())
    trainer.train()
    best = max(seen, key=lambda metrics: (metrics["eval_accuracy"], -metrics["eval_loss"]))
    assert len(seen) == 6
    assert seen[-1] != best, "the last weights must not be the best for this test to mean anything"
    found = measure(classifier, labelled_examples())
    assert found["accuracy"] == pytest.approx(best["eval_accuracy"])
    assert found["loss"] == pytest.approx(best["eval_loss"], rel=1e-9)
    record = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert record["eval_accuracy"] == best["eval_accuracy"]


def test_a_run_cut_off_goes_on_to_the_same_weights(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    whole = PetLoss(small_classifier(small_vocabulary), alpha=0.5)
    arguments = {"unlabelled_per_row": 1, "lr_scheduler_type": "constant"}
    PetTrainer(whole, settings(tmp_path / "a", **arguments), labelled_examples(), None, UNLABELLED).train()

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 3

    saved = settings(tmp_path / "b", save_strategy="steps", save_steps=3, **arguments)
    first = PetLoss(small_classifier(small_vocabulary), alpha=0.5)
    PetTrainer(first, saved, labelled_examples(), None, UNLABELLED, callbacks=[Stop()]).train()
    second = PetLoss(small_classifier(small_vocabulary), alpha=0.5)
    trainer = PetTrainer(second, saved, labelled_examples(), None, UNLABELLED)
    trainer.train(resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-3"))
    assert trainer.state.global_step == 6
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=1e-10)


def test_saving_leaves_a_classifier_that_loads(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary)
    trainer = PetTrainer(LabelLoss(classifier), settings(tmp_path / "run"), labelled_examples())
    trainer.save_model(str(tmp_path / "saved"))
    assert PetClassifier.from_pretrained(tmp_path / "saved").predict(TEXTS) == classifier.predict(TEXTS)


def test_a_new_run_in_an_old_folder_does_not_keep_the_old_best(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    for turn in range(2):
        classifier = small_classifier(small_vocabulary)
        arguments = settings(tmp_path, learning_rate=0.05 * 10 ** -(3 * turn))
        PetTrainer(LabelLoss(classifier), arguments, labelled_examples(), labelled_examples()).train()
    record = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert record["eval_loss"] == pytest.approx(measure(classifier, labelled_examples())["loss"], rel=1e-9)


def test_one_run_at_a_time_trains_in_a_folder(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    refused = []

    class Another(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            other = LabelLoss(small_classifier(small_vocabulary))
            with pytest.raises(
                BlockingIOError, match=f"is writing to {tmp_path} already; give another folder"
            ) as found:
                PetTrainer(other, settings(tmp_path, max_steps=1), labelled_examples(), labelled_examples()).train()
            refused.append(found)

    for _ in range(2):  # one after another they may
        classifier = small_classifier(small_vocabulary)
        trainer = PetTrainer(LabelLoss(classifier), settings(tmp_path), labelled_examples(), labelled_examples())
        trainer.add_callback(Another())
        trainer.train()
    assert refused
    record = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert record["eval_loss"] == pytest.approx(measure(classifier, labelled_examples())["loss"], rel=1e-9)


def test_a_fit_waits_for_no_other_in_its_folder(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary, fitting=Fitting(max_steps=1, output_dir=tmp_path)).float()
    with only_writer(tmp_path), pytest.raises(BlockingIOError, match=f"is writing to {tmp_path}"):
        classifier.fit(labelled_examples())


def test_an_evaluation_afterwards_leaves_the_best_of_another_run(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    trainers = []
    for rate in (0.02, 1e-6):
        objective = LabelLoss(small_classifier(small_vocabulary))
        arguments = settings(tmp_path, max_steps=40, learning_rate=rate)
        trainers.append(PetTrainer(objective, arguments, labelled_examples(), labelled_examples()))
        trainers[-1].train()
    before = (tmp_path / "best" / "metrics.json").read_bytes()
    better = trainers[0].evaluate()
    assert better["eval_loss"] < json.loads(before)["eval_loss"]
    assert (tmp_path / "best" / "metrics.json").read_bytes() == before


def test_learning_really_happens(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary)
    before = measure(classifier, labelled_examples())
    arguments = settings(tmp_path, max_steps=40, learning_rate=0.02, per_device_train_batch_size=8)
    PetTrainer(LabelLoss(classifier), arguments, labelled_examples()).train()
    after = measure(classifier, labelled_examples())
    assert after["accuracy"] == 1.0
    assert after["loss"] < before["loss"] / 4


def test_labels_are_checked_before_training(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary)
    wrong = [*labelled_examples(), Example({"text": "a"}, "worse")]
    with pytest.raises(ValueError, match="label 'worse' is not one of"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), wrong)
    with pytest.raises(ValueError, match="label 'worse' is not one of"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), labelled_examples(), wrong)
    with pytest.raises(ValueError, match="no training examples"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), [])


def test_neither_arguments_nor_model_are_changed(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary).float()
    arguments = settings(tmp_path, bf16=True, max_steps=1)
    before, attention = dict(vars(arguments)), classifier.model.config._attn_implementation
    trainer = PetTrainer(LabelLoss(classifier), arguments, labelled_examples())
    assert classifier.model.config._attn_implementation == attention == "sdpa"
    trainer.train()
    assert vars(arguments) == before
    assert classifier.model.config._attn_implementation == attention


@pytest.mark.parametrize("make", [PetTrainingArguments, TrainingArguments])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_arguments_that_name_a_folder_alone_are_enough(
    small_vocabulary: dict[str, int], tmp_path: Path, name: str, make: type[TrainingArguments]
) -> None:
    objective = OBJECTIVES[name][0](small_classifier(small_vocabulary).float())
    before = weights(objective)
    trainer = PetTrainer(objective, make(str(tmp_path)), labelled_examples(), labelled_examples(), UNLABELLED)
    trainer.train()
    assert trainer.state.global_step == (100 if make is PetTrainingArguments else 3)
    assert any(not torch.equal(before[key], tensor) for key, tensor in objective.state_dict().items())


def test_without_max_steps_epochs_count(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    for epochs, steps in ((1, 2), (1.5, 3), (0.1, 1)):
        classifier = small_classifier(small_vocabulary)
        arguments = settings(tmp_path, max_steps=-1, num_train_epochs=epochs, gradient_accumulation_steps=1)
        trainer = PetTrainer(LabelLoss(classifier), arguments, labelled_examples())
        trainer.train()
        assert trainer.state.global_step == steps


def test_a_run_of_a_single_step_trains(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    objective = LabelLoss(small_classifier(small_vocabulary))
    before = weights(objective)
    trainer = PetTrainer(objective, settings(tmp_path, max_steps=1, warmup_steps=0), labelled_examples())
    trainer.train()
    assert trainer.state.global_step == 1
    assert any(not torch.equal(before[key], tensor) for key, tensor in objective.state_dict().items())


def test_the_trainers_own_arguments_are_honoured(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.0)
    trainer = PetTrainer(
        model=LabelLoss(classifier),
        args=settings(tmp_path, max_steps=2, save_strategy="steps", save_steps=2),
        train_dataset=labelled_examples(),
        eval_dataset=labelled_examples(),
        processing_class=classifier.tokenizer,
        compute_metrics=lambda found: {"share_of_first": float((found.predictions.argmax(1) == 0).mean())},
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer)),
    )
    before = weights(trainer.model)
    trainer.train()
    assert trainer.optimizer.optimizer is optimizer
    assert all(torch.equal(before[key], tensor) for key, tensor in trainer.model.state_dict().items())
    predicted = [label == "good" for label in classifier.predict(labelled_examples())]
    assert trainer.evaluate()["eval_share_of_first"] == pytest.approx(sum(predicted) / len(predicted))
    assert (tmp_path / "checkpoint-2" / "vocab.txt").is_file()
    with pytest.raises(TypeError, match="unexpected keyword argument 'data_collator'"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), labelled_examples(), data_collator=list)  # type: ignore[call-arg]


def test_a_wrapped_objective_gets_the_texts_that_it_uses(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    model = small_model(len(tokenizer))
    ids = add_soft_tokens(model, tokenizer, 1)
    classifier = PetClassifier(model, tokenizer, "{soft}{mask}{text}", WORDS, soft_token_ids=ids)
    objective = PTuningLoss(PetLoss(classifier, alpha=0.5), train="all")
    trainer = PetTrainer(objective, settings(tmp_path), labelled_examples(), unlabelled=UNLABELLED)
    trainer.train()
    assert trainer.train_dataset[0].unlabelled


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_runs_on_a_tokenizer_of_characters(
    small_vocabulary: dict[str, int], tmp_path: Path, name: str
) -> None:
    model = small_model(len(small_vocabulary))
    classifier = PetClassifier(model, BertTokenizer(vocab=small_vocabulary), "{mask}满意。{text}", WORDS)
    objective = OBJECTIVES[name][0](classifier)
    unlabelled = UNLABELLED if name == "pet" else []
    PetTrainer(objective, settings(tmp_path, max_steps=1), labelled_examples(), None, unlabelled).train()


def test_a_model_in_fp16_is_refused(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    classifier = small_classifier(small_vocabulary).half()
    with pytest.raises(ValueError, match="WoBertForMaskedLM cannot be trained in float16"):
        PetTrainer(LabelLoss(classifier), settings(tmp_path), labelled_examples())


def test_what_is_measured_has_labels(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    objective = LabelLoss(small_classifier(small_vocabulary))
    some = [*labelled_examples(), Example({"text": "今天"})]
    with pytest.raises(ValueError, match=r"y contains no label for row 8 \(None or NaN; 1 of 9 rows\)"):
        PetTrainer(objective, settings(tmp_path), labelled_examples(), some)
    trainer = PetTrainer(objective, settings(tmp_path), some)
    with pytest.raises(ValueError, match="y contains no label for row 8"):
        trainer.evaluate(some)
    assert trainer.predict(some).label_ids.tolist()[-1] == -100


def test_nothing_without_a_label_is_held_out() -> None:
    some = [*labelled_examples(), *(Example({"text": text}) for text in TEXTS)]
    kept, held_out = hold_out(some, 0.5, seed=0)
    assert len(held_out) == 5 and all(one.label for one in held_out)
    assert len(kept) == len(some) - 5
