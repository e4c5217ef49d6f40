"""Predictions, asked for without the labels, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.pet import Example

#: Examples without labels to one label each.
Predict = Callable[[Sequence[Example]], Sequence[str]]


def score_predictions(
    task: FewShotTask, examples: Sequence[Example], predict: Predict
) -> tuple[dict[str, float], list[str]]:
    """Have labelled examples predicted, the labels taken away, and score the result.

    Args:
        task: names the labels and the metrics.
        examples: labelled examples.
        predict: what is scored; called once.

    Returns:
        Every metric's name to its value, and the predicted labels.

    Raises:
        ValueError: an example has no label, or the prediction is not one label of the task for each example.

    Example:
        >>> task = FewShotTask("t", ("text",), ("a", "b"))
        >>> score_predictions(task, [Example({"text": "x"}, "a")], lambda examples: ["a" for _ in examples])
        ({'accuracy': 1.0}, ['a'])
    """
    gold = [example.label for example in examples]
    labels = [label for label in gold if label is not None]
    if len(labels) < len(gold):
        raise ValueError(f"{len(gold) - len(labels)} of {len(gold)} examples have no label to score by")
    predicted = list(predict([example.without_label() for example in examples]))
    if len(predicted) != len(examples):
        raise ValueError(f"predict gave {len(predicted)} labels for {len(examples)} examples; give one each, in order")
    if strangers := sorted({str(label) for label in predicted} - set(task.labels)):
        raise ValueError(f"predict gave {strangers[:5]}, which are not among the labels of {task.name}")
    return task.score(labels, predicted), predicted
