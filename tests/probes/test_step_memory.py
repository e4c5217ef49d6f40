from __future__ import annotations

import torch
from torch import nn

from nlpkit.probes.step_memory import gradient_bytes, optimizer_bytes, peak_bytes, saved_activation_bytes


def test_saved_activations_are_counted_once_and_without_weights_or_inputs() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    inputs = torch.randn(3, 4)
    # Tanh keeps its result, which the second layer keeps too; the first keeps the input, the square the (3, 2) result.
    assert saved_activation_bytes(model, lambda: model(inputs).square()) == 4 * (3 * 8 + 3 * 2)
    model.requires_grad_(False)
    assert saved_activation_bytes(model, lambda: model(inputs).square()) == 0


def test_gradients_and_optimizer_states_are_counted() -> None:
    model = nn.Linear(4, 2)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight])
    assert gradient_bytes(model) == optimizer_bytes(optimizer) == 0
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert gradient_bytes(model) == 4 * 8
    assert optimizer_bytes(optimizer) == 4 * (2 * 8 + 1)  # two moments and a count of steps


def test_the_peak_is_of_what_lives_at_one_time() -> None:
    size = 1 << 12

    def one_after_another() -> None:
        for _ in range(5):
            torch.ones(size)

    def together() -> list[torch.Tensor]:
        return [torch.ones(size) for _ in range(5)]

    assert peak_bytes(one_after_another, torch.device("cpu")) == 4 * size
    assert peak_bytes(together, torch.device("cpu")) == 5 * 4 * size
    held = torch.ones(size)
    assert peak_bytes(lambda: held.add_(1), torch.device("cpu")) == 0
