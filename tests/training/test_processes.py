"""Several processes: what is sent between them lies where their backend can reach it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from unmask.training.processes import same_buffers


@pytest.fixture
def accelerators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A group that, as NCCL's, takes no tensor of the CPU, and says that it is of two processes."""
    dist.init_process_group("cuda:gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    monkeypatch.setattr(dist, "get_world_size", lambda *group: 2)
    yield
    monkeypatch.undo()
    dist.destroy_process_group()


@pytest.mark.usefixtures("accelerators")
def test_a_player_without_buffers_sends_nothing() -> None:
    with pytest.raises(RuntimeError, match="No backend"):  # the group is what the fixture says
        dist.broadcast(torch.empty(0), 0)
    same_buffers(nn.Linear(2, 2))
