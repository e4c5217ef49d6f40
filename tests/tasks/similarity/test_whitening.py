"""Whitened embeddings against their definition, and the module in a process that has no nlpkit."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit import model_path
from nlpkit.tasks.similarity import Whitening, sentence_encoder, whiten_encoder

TEXTS = ["酒店的服务很好", "今天天气不错", "手机屏幕碎了", "怎样学好英语", "苹果多少钱一斤", "如何申请护照"]


def mixed(seed: int, texts: int, dimension: int) -> np.ndarray:
    """Correlated points away from 0."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(texts, dimension)) @ generator.normal(size=(dimension, dimension)) + 3


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), dimension=st.integers(1, 6), data=st.data())
def test_what_is_kept_is_white_and_varied_most(seed: int, dimension: int, data: st.DataObject) -> None:
    points = mixed(seed, 60, dimension)
    kept = data.draw(st.integers(1, dimension))
    whitening = Whitening.fit(points, kept)
    white = whitening.transform(points)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(kept), atol=1e-6)
    directions = whitening.matrix / np.linalg.norm(whitening.matrix, axis=0)
    variances = ((points - points.mean(axis=0)) @ directions).var(axis=0)
    wanted = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[:kept] ** 2 / 60
    np.testing.assert_allclose(variances, wanted, rtol=1e-6)


def test_distances_are_those_of_mahalanobis() -> None:
    points = mixed(1, 200, 5)
    white = Whitening.fit(points).transform(points)
    gap = points[0] - points[1]
    assert np.sum((white[0] - white[1]) ** 2) == pytest.approx(gap @ np.linalg.inv(np.cov(points.T, ddof=0)) @ gap)


def test_fewer_dimensions_are_the_first_of_all() -> None:
    points = mixed(2, 100, 6)
    assert (Whitening.fit(points, 2).transform(points) == Whitening.fit(points).transform(points)[:, :2]).all()
    turned = Whitening.fit(points[::-1], 2).transform(points)  # no sign is left to the solver
    np.testing.assert_allclose(turned, Whitening.fit(points, 2).transform(points), atol=1e-9)


def test_copies_and_pickles_whiten_alike() -> None:
    points = mixed(3, 50, 3)
    whitening = Whitening.fit(torch.from_numpy(points).float())
    for other in (copy.deepcopy(whitening), pickle.loads(pickle.dumps(whitening))):
        assert (other.transform(points) == whitening.transform(points)).all()


def test_a_normalised_state_has_a_direction_that_does_not_vary() -> None:
    normalise = torch.nn.LayerNorm(8)
    torch.nn.init.uniform_(normalise.weight, 0.5, 2)
    torch.nn.init.normal_(normalise.bias)
    states = normalise(torch.randn(300, 5, 8, generator=torch.Generator().manual_seed(0))).mean(dim=1)
    assert Whitening.fit(states).matrix.shape == (8, 7)


def test_what_does_not_vary_is_named() -> None:
    flat = np.concatenate([mixed(4, 50, 2), np.full((50, 1), 0.1)], axis=1)
    for points in (flat, torch.from_numpy(flat).float()):
        with pytest.raises(ValueError, match=r"dimensions=3, but only 2 vary among these 50 texts; give more"):
            Whitening.fit(points, 3)
        assert Whitening.fit(points).matrix.shape == (3, 2)
    with pytest.raises(ValueError, match=r"dimensions=5, but only 3 vary among these 4 texts; give more texts, or"):
        Whitening.fit(mixed(0, 4, 5), 5)
    with pytest.raises(ValueError, match=r"the embeddings of these 9 texts are all the same; give texts that differ"):
        Whitening.fit(np.full((9, 4), 0.3))
    with pytest.raises(ValueError, match=r"the embeddings of these 9 texts are all the same"):
        Whitening.fit(np.full((9, 4), 0.3), 1)
    with pytest.raises(ValueError, match=r"embeddings of one text do not vary"):
        Whitening.fit(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"dimensions=0: give a whole number at least 1 and at most 3"):
        Whitening.fit(np.ones((4, 3)), 0)
    with pytest.raises(ValueError, match=r"row 2 holds NaN"):
        Whitening.fit(np.array([[1.0], [2.0], [np.nan]]))
    with pytest.raises(ValueError, match=r"embeddings has 2 dimensions and the others have 3"):
        Whitening.fit(mixed(0, 20, 3)).transform(np.ones((1, 2)))


def test_embeddings_of_any_size_are_whitened() -> None:
    points = mixed(6, 60, 3)
    for size in (1e200, 1e-200):
        white = Whitening.fit(points * size).transform(points * size)
        np.testing.assert_allclose(white, Whitening.fit(points).transform(points), atol=1e-7)
    for dimensions in (2.0, True):
        with pytest.raises(TypeError, match=r"dimensions=.*: give a whole number at least 1 and at most 3"):
            Whitening.fit(points, dimensions)  # type: ignore[arg-type]


def test_directions_that_fp32_cannot_hold_are_refused() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")
    points = np.random.default_rng(7).normal(size=(200, 3)) * [1.0, 1e-2, 1e-5] + 10
    whitening = Whitening.fit(points)
    with pytest.raises(ValueError, match=r"of the 3 dimensions that are kept, fp32 holds 2 .* with dimensions=2"):
        whitening.module()
    dense = Whitening.fit(points, 2).module()
    found = dense({"sentence_embedding": torch.from_numpy(points).float()})["sentence_embedding"]
    np.testing.assert_allclose(found, whitening.transform(points)[:, :2], atol=0.02)


class Shallow:
    """An encoder whose embeddings hardly vary in their last direction."""

    prompts: dict[str, str] = {}  # noqa: RUF012
    default_prompt_name = similarity_fn_name = None
    device = "cpu"

    def __iter__(self) -> Any:
        return iter([torch.nn.Identity()])

    def encode(self, texts: list[str], **settings: Any) -> np.ndarray:
        return np.random.default_rng(7).normal(size=(len(texts), 3)) * [1.0, 1e-2, 1e-5] + 10


def test_an_encoder_keeps_what_fp32_can_hold() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")
    assert whiten_encoder(Shallow(), ["好"] * 200)[-1].out_features == 2  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"texts is one text, '文本'; give a list of them"):
        whiten_encoder(Shallow(), "文本")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder() -> Any:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")
    return sentence_encoder("wobert-mini-zh", prompt="句子：", device="cpu")


def test_an_encoder_gives_what_its_whitening_gives(encoder: Any) -> None:
    white = whiten_encoder(encoder, TEXTS, dimensions=4)
    plain = encoder.encode(TEXTS)
    wanted = Whitening.fit(plain, 4).transform(plain)
    np.testing.assert_allclose(white.encode(TEXTS), wanted, atol=2e-4)
    assert white.prompts["text"] == "句子：" and white.get_embedding_dimension() == 4
    assert not any(parameter.requires_grad for parameter in white[-1].parameters())
    assert len(encoder) == 2
    with pytest.raises(ValueError, match=r"there are no texts to fit a whitening on"):
        whiten_encoder(encoder, [])
    with pytest.raises(TypeError, match="texts holds None, which is no text"):
        whiten_encoder(encoder, [*TEXTS, None])  # type: ignore[list-item]
    again = whiten_encoder(encoder, iter(TEXTS), dimensions=4)
    np.testing.assert_array_equal(again.encode(TEXTS), white.encode(TEXTS))


def test_the_module_loads_where_nlpkit_is_not(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")
    points = mixed(5, 80, 6)
    whitening = Whitening.fit(points, 3)
    whitening.module().save(str(tmp_path))
    code = (
        "import sys, torch; sys.modules['nlpkit'] = None;"
        "from sentence_transformers.base.modules import Dense;"
        f"module = Dense.load({str(tmp_path)!r});"
        "print(module({'sentence_embedding': torch.full((1, 6), 0.5)})['sentence_embedding'].tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    wanted = whitening.transform(np.full((1, 6), 0.5))
    np.testing.assert_allclose(eval(found.stdout), wanted, rtol=1e-5, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.slow
def test_a_saved_encoder_gives_the_same_in_a_fresh_process(encoder: Any, tmp_path: Path) -> None:
    white = whiten_encoder(encoder, TEXTS, dimensions=4)
    white.save_pretrained(str(tmp_path / "white"))
    code = (
        "import nlpkit, numpy; from sentence_transformers import SentenceTransformer;"
        f"model = SentenceTransformer({str(tmp_path / 'white')!r}, device='cpu');"
        f"numpy.save({str(tmp_path / 'found.npy')!r}, model.encode({TEXTS!r}))"
    )
    root = model_path("wobert-mini-zh").parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), white.encode(TEXTS), atol=1e-6)
