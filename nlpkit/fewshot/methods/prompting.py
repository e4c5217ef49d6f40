"""The methods of ``nlpkit.pet`` under the protocol: settings in, a dev-selected predictor out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import AutoModel, PrinterCallback, set_seed

from nlpkit.fewshot.grid.protocol import RunData, RunOutcome
from nlpkit.fewshot.methods.prompt_settings import PromptSettings
from nlpkit.fewshot.scoring import Predict
from nlpkit.pet import (
    AdapetLoss,
    ChoiceClassifier,
    DemonstratedClassifier,
    Ensemble,
    Example,
    FullVocabularyLoss,
    HeadClassifier,
    LabelLoss,
    MaskedTextLoss,
    Objective,
    PetClassifier,
    PetLoss,
    PetTrainer,
    PetTrainingArguments,
    PTuningLoss,
    SoftLabelLoss,
    TextClassifier,
    Verbalizer,
    add_soft_tokens,
    load_masked_lm,
    mean_states,
    next_training_sets,
    soft_examples,
)
from nlpkit.pretrained import open_tokenizer
from nlpkit.sources import find_model
from nlpkit.training import fast_arithmetic


def zero_shot(run: RunData) -> RunOutcome:
    """The words that the untrained model prefers in the first pattern."""
    return _outcome(_prompted(run, PromptSettings.of(run)))


def zero_shot_calibrated(run: RunData) -> RunOutcome:
    """Zero-shot, the model's preference for some labels taken out by unlabelled texts.

    Where there are none, training texts without their labels serve.
    """
    settings = PromptSettings.of(run)
    classifier = _calibrated(run, settings)
    return _outcome(classifier, {"calibrated_on": _source_of_unlabelled(run)})


def zero_shot_masked_lm(run: RunData) -> RunOutcome:
    """Zero-shot, calibrated, after masked-LM training on the unlabelled texts; no label is looked at.

    All splits have the same texts, so each draws its own order and masks.
    """
    settings = PromptSettings.of(run)
    own = replace(run, seed=run.seed + 1000 * run.split)
    set_seed(own.seed)
    classifier = _prompted(run, settings)
    _train(own, settings, MaskedTextLoss(classifier, seed=own.seed), _unlabelled(run, settings), selects=False)
    return _outcome(_calibrate(classifier, run, settings), {"unlabelled": _source_of_unlabelled(run)})


def fine_tuning(run: RunData) -> RunOutcome:
    """A new head on the encoder; where examples bring candidates, one that scores each filled-in candidate."""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    return _trained(run, settings, LabelLoss(_headed(run, settings)))


def pet(run: RunData) -> RunOutcome:
    """PET with one pattern, calibrated first: cross-entropy over the labels, and a little masked-LM loss on unlabelled
    texts."""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    objective = PetLoss(_calibrated(run, settings), settings.alpha, settings.mask_probability, run.seed)
    return _trained(run, settings, objective)


def pet_mlm(run: RunData) -> RunOutcome:
    """The blog's variant: one masked-LM loss at the label's slot and at random masks, unlabelled texts among them.

    It learns to write one word per label, so one is asked for: the probability of further ones would only fall.
    """
    settings = PromptSettings.of(run).with_first_words()
    set_seed(run.seed)
    objective = FullVocabularyLoss(_prompted(run, settings), settings.mask_probability, run.seed)
    return _trained(run, settings, objective)


def pet_mlm_supervised(run: RunData) -> RunOutcome:
    """The blog's variant without unlabelled texts, to tell what they are worth."""
    settings = replace(PromptSettings.of(run).with_first_words(), unlabelled_per_row=0)
    set_seed(run.seed)
    objective = FullVocabularyLoss(_prompted(run, settings), settings.mask_probability, run.seed)
    return _trained(run, settings, objective)


def p_tuning(run: RunData) -> RunOutcome:
    """Trainable tokens in the pattern, trained together with the model."""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    folder = find_model(settings.model)
    model, tokenizer = load_masked_lm(folder), open_tokenizer(folder)
    ids = add_soft_tokens(model, tokenizer, settings.soft_pattern.count("{soft}"))
    classifier = PetClassifier(
        model, tokenizer, settings.soft_pattern, _verbalizer(settings), settings.max_length, soft_token_ids=ids
    )
    return _trained(run, settings, PTuningLoss(LabelLoss(_calibrate(classifier, run, settings)), train="all"))


def adapet(run: RunData) -> RunOutcome:
    """ADAPET: a decoupled label loss, and the input predicted from the label."""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    return _trained(run, settings, AdapetLoss(_prompted(run, settings), seed=run.seed))


def lm_bff(run: RunData) -> RunOutcome:
    """LM-BFF: PET without masked-LM loss, each input followed by a solved example of each label."""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    folder = find_model(settings.model)
    tokenizer, verbalizer = open_tokenizer(folder), _verbalizer(settings)
    if verbalizer is None:
        raise ValueError(f"LM-BFF needs labels common to all examples; those of {run.task.name} bring candidates")
    classifier = DemonstratedClassifier(
        load_masked_lm(folder),
        tokenizer,
        settings.patterns[0],
        verbalizer,
        support=run.train,
        samplings=settings.samplings,
        demonstration_length=(512 - settings.max_length) // len(run.task.labels),
        text_encoder=mean_states(AutoModel.from_pretrained(folder, dtype="float32").eval(), tokenizer),
        seed=run.seed,
    )
    return _trained(run, settings, LabelLoss(_calibrate(classifier, run, settings)))


def efl(run: RunData) -> RunOutcome:
    """EFL: does the text entail the description of the label?"""
    settings = PromptSettings.of(run)
    set_seed(run.seed)
    classifier = ChoiceClassifier.from_pretrained(
        settings.entailment_model or find_model(settings.model),
        settings.premise,
        settings.hypotheses,
        max_length=settings.max_length,
    )
    return _trained(run, settings, LabelLoss(classifier))


def ipet(run: RunData) -> RunOutcome:
    """iPET: an ensemble over patterns, generations of it on what the members label for one another, one final
    classifier that learns the last ensemble's soft labels."""
    settings = PromptSettings.of(run)
    unlabelled = _unlabelled(run, settings)
    sets = [list(run.train)] * len(settings.patterns)
    history = []
    for generation in range(settings.generations + 1):
        members = []
        for number, (pattern, examples) in enumerate(zip(settings.patterns, sets, strict=True)):
            set_seed(run.seed + 1000 * number)
            own = replace(settings, patterns=(pattern,))
            members.append(_train(run, own, LabelLoss(_calibrated(run, own)), examples))
        ensemble = Ensemble(members)
        history.append(run.dev_score(_predict(ensemble)))
        if generation < settings.generations:
            with fast_arithmetic():
                scores = [member.scores(unlabelled) for member in members]
            sets = next_training_sets(
                unlabelled,
                scores,
                run.train,
                ensemble.labels,
                size=len(run.train) * settings.growth ** (generation + 1),
                seed=run.seed * 100 + generation,
            )
    with fast_arithmetic():
        taught = soft_examples(unlabelled, ensemble.scores(unlabelled), ensemble.labels)
    set_seed(run.seed)
    student = _headed(run, settings)
    longer = replace(
        settings,
        max_steps=settings.distillation_steps,
        batch_size=16,
        learning_rate=settings.distillation_learning_rate or settings.learning_rate,
    )
    _train(run, longer, SoftLabelLoss(student, temperature=2.0), taught)
    return RunOutcome(_predict(student), {"dev_of_generations": history})


def _verbalizer(settings: PromptSettings) -> Verbalizer | None:
    return Verbalizer(settings.words, aggregate=settings.aggregate) if settings.words else None


def _prompted(run: RunData, settings: PromptSettings) -> PetClassifier:
    if not settings.patterns:
        raise ValueError(
            f"the settings of {run.task.name} hold no patterns; write them into its YAML file, and name its folder "
            "with --settings"
        )
    return PetClassifier.from_pretrained(
        find_model(settings.model), settings.patterns[0], _verbalizer(settings), max_length=settings.max_length
    )


def _calibrated(run: RunData, settings: PromptSettings) -> PetClassifier:
    return _calibrate(_prompted(run, settings), run, settings)


def _calibrate(classifier: PetClassifier, run: RunData, settings: PromptSettings) -> PetClassifier:
    """Take out what the model prefers anyway, for methods that compare labels with one another."""
    texts = _unlabelled(run, settings)[: settings.calibration_texts]
    if classifier.labels and texts:
        with fast_arithmetic():
            classifier.calibrate(texts)
    return classifier


def _headed(run: RunData, settings: PromptSettings) -> TextClassifier:
    folder = find_model(settings.model)
    if settings.words is None:
        return ChoiceClassifier.from_pretrained(
            folder, settings.premise, None, loss="softmax", max_length=settings.max_length
        )
    return HeadClassifier.from_pretrained(folder, run.task.labels, settings.fields, settings.max_length)


def _unlabelled(run: RunData, settings: PromptSettings) -> list[Example]:
    found = [example for example in run.unlabelled[: settings.most_unlabelled] if any(example.fields.values())]
    return found or [example.without_label() for example in run.train]


def _train(
    run: RunData,
    settings: PromptSettings,
    objective: Objective[Any],
    examples: Sequence[Example],
    selects: bool = True,
) -> TextClassifier:
    """Train on examples, select the step on dev or take the last one, and return the classifier."""
    arguments = PetTrainingArguments(
        output_dir=str(run.folder),
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        unlabelled_per_row=settings.unlabelled_per_row if objective.uses_unlabelled else 0,
        seed=run.seed,
        disable_tqdm=True,
        logging_strategy="no",
    )
    unlabelled = _unlabelled(run, settings) if objective.uses_unlabelled else ()
    trainer = PetTrainer(objective, arguments, examples, list(run.dev) if selects else None, unlabelled)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.discard_best()
    return objective.classifier


def _trained(run: RunData, settings: PromptSettings, objective: Objective[Any]) -> RunOutcome:
    classifier = _train(run, settings, objective, run.train)
    details = {"unlabelled": _source_of_unlabelled(run)} if objective.uses_unlabelled else {}
    return _outcome(classifier, details)


def _outcome(classifier: TextClassifier, details: Mapping[str, Any] | None = None) -> RunOutcome:
    return RunOutcome(_predict(classifier), details or {})


def _source_of_unlabelled(run: RunData) -> str:
    return "the task's" if run.unlabelled else "training texts without their labels"


def _predict(classifier: TextClassifier | Ensemble) -> Predict:
    def predict(examples: Sequence[Example]) -> list[str]:
        with fast_arithmetic():
            return classifier.predict(examples)

    return predict
