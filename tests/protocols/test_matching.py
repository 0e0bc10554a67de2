"""A control blurs as the game it stands beside really did."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask import UnmaskError
from unmask.game.adversaries import build_adversary, describe_sigma
from unmask.protocols.matching import matched_overrides


def options(overrides: list[str]) -> dict[str, object]:
    return {
        key.split(".")[-1]: tomllib.loads(f"v = {value}")["v"] for key, value in (o.split("=", 1) for o in overrides)
    }


def written(path: Path) -> Path:
    """A log of two entries: reals blurred by .5 to 1 px, fakes by 1 to 2."""
    labels = torch.arange(64) % 2
    lines = [{"kind": "validation", "auc": 0.7}]
    for _ in range(2):
        sigma = torch.lerp(torch.tensor(0.5), torch.tensor(1.0), torch.rand(64, 1, 16, 16))
        lines.append({"kind": "train", "sigma": describe_sigma(sigma * (1 + labels.view(-1, 1, 1, 1)), labels)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_sigma_is_drawn_from_what_was_played(tmp_path: Path) -> None:
    apart = options(matched_overrides(written(tmp_path / "log.jsonl"), "apart"))
    assert set(apart) == {"distribution", "sigma_max"}
    assert np.allclose(np.array(apart["distribution"])[:, [0, 10, 20]], [[0.5, 0.75, 1.0], [1.0, 1.5, 2.0]], atol=0.02)
    assert build_adversary("random-restore", apart) is not None
    pooled = options(matched_overrides(tmp_path / "log.jsonl", "pooled"))
    assert np.allclose(np.array(pooled["distribution"])[[0, 10, 20]], [0.5, 1.0, 2.0], atol=0.02)


def test_a_game_without_blur_has_no_such_control(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"kind": "train"}\n')
    with pytest.raises(UnmaskError, match=r"log\.jsonl: says nothing about sigma"):
        matched_overrides(tmp_path / "log.jsonl", "apart")
