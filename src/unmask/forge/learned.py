"""What the learned forgeries share: patches of aligned faces, a short training, a model file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.forge.faces import Faces
from unmask.forge.geometry import AlignedFace, Image
from unmask.writing import replacing

#: Side of the pictures that the networks take and give, pixels.
PATCH = 64
_BATCH = 32
#: All that is learned from is held in memory, and more would hardly be drawn in the steps there are.
_FACES = 20_000

#: A square of the template: x, y of its corner, width.
Square = tuple[float, float, float]


def patch(face: AlignedFace, square: Square) -> Tensor:
    """The square of a face, float (3, PATCH, PATCH) in [0, 1]."""
    return to_tensor(face.template_image(PATCH, square))


def places(faces: Faces) -> range:
    """The faces to learn from: all, or of very many so many, evenly spread."""
    return range(0, len(faces), -(-len(faces) // _FACES))


def patches(faces: Faces, square: Square) -> Tensor:
    """The squares of the faces to learn from, uint8 (N, 3, PATCH, PATCH)."""
    return torch.stack([(patch(faces.face(place), square) * 255).to(torch.uint8) for place in places(faces)])


def to_tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)


def to_image(rendered: Tensor) -> Image:
    """Float (3, H, W) to uint8 (H, W, 3)."""
    pixels = rendered.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def group(faces: Faces, place: int) -> int:
    """0 or 1, by component: everything made of one source is in one group."""
    component = str(faces.table.component[faces.rows[place]])
    return hashlib.sha256(component.encode()).digest()[0] % 2


def fitted(
    model: nn.Module,
    path: Path,
    examples: Callable[[], Tensor],
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    steps: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """The model of a file, or, where there is none, fitted to examples by Adam and written there; in eval mode.

    Args:
        examples: gives what is learned from, uint8 (N, 3, PATCH, PATCH); asked only if there is something to learn.
        loss: of the model on patches (B, 3, PATCH, PATCH), float in [0, 1], which are examples (B,).
        progress: told how many of the steps are done.

    Raises:
        UnmaskError: the file is there and holds another model.
    """
    if path.exists():
        try:
            model.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError, OSError) as error:
            raise UnmaskError(path, f"holds no weights of this forgery ({str(error).splitlines()[0]})") from error
        return model.eval()
    pixels = examples()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, (0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps):
            rows = torch.randint(len(pixels), (_BATCH,))
            batch = pixels[rows].float().div_(255)
            batch = torch.where((torch.rand(_BATCH) < 0.5).view(-1, 1, 1, 1), batch.flip(3), batch)
            optimiser.zero_grad(set_to_none=True)
            loss(model, batch, rows).backward()
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, steps)
    with replacing(path) as file:
        file.write(save(model.state_dict()))
    return model.eval()


def edge_loss(rendered: Tensor, images: Tensor) -> Tensor:
    """How far the steps between neighbouring pixels are off, both (B, C, H, W): a blur is of the right colours."""
    pairs = [(image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]) for image in (rendered, images)]
    across, down = (nn.functional.l1_loss(ours, theirs) for ours, theirs in zip(*pairs, strict=True))
    return across + down


def built(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A module whose first weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def distorted(images: Tensor) -> Tensor:
    """Images (B, 3, S, S) under random affine maps and a smooth random warp, as the original deepfakes trained on."""
    count = len(images)
    angle, zoom = torch.empty(count).uniform_(-0.12, 0.12), torch.empty(count).uniform_(0.93, 1.07)
    shift = torch.empty(count, 2).uniform_(-0.06, 0.06)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
    coarse = torch.randn(count, 2, 5, 5) * 0.03
    smooth = nn.functional.interpolate(coarse, images.shape[-2:], mode="bicubic", align_corners=True)
    grid = grid + smooth.permute(0, 2, 3, 1)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
