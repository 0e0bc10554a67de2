"""A finished detector on disk: ``model.safetensors`` and ``card.json`` in a folder. Nothing is executed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.detector.card import Card
from unmask.errors import UnmaskError
from unmask.writing import make_folder, replacing, write_text

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
#: What ``unmask export`` puts beside the weights, for ONNX Runtime.
ONNX = "model.onnx"
#: Its heat maps, a model of its own beside that one.
HEAT = "heat.onnx"
CARD = "card.json"
#: Detectors that ship in the package, by name.
BUNDLED = Path(__file__).parents[1] / "detectors"
#: Endings of files that Python would execute on load.
_PICKLES = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".bin", ".tar")


def save_detector(folder: str | os.PathLike[str], state_dict: Mapping[str, Tensor], card: Card) -> Path:
    """Write a detector; each file appears whole or not at all, and the card names the weights it belongs to.

    Args:
        folder: made if it is missing; a detector that is there is replaced.
        state_dict: of a classifier as ``build_classifier`` makes it; dtypes are kept.
        card: its ``weights_sha256`` is filled in here.

    Returns:
        The folder.

    Raises:
        UnmaskError: the folder cannot be written, or the card holds what JSON cannot.
    """
    import safetensors.torch

    target = Path(folder)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state_dict.items()}
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    finished = replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    try:
        text = card_text(finished)
    except (TypeError, ValueError) as error:
        raise UnmaskError(target / CARD, f"the card cannot be written as JSON ({error})") from error
    make_folder(target)
    with replacing(target / WEIGHTS) as file:
        file.write(data)
    write_text(target / CARD, text)
    return target


def stored_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network as a detector's folder keeps them: float16, half the size of float32.

    Calibration and threshold must be fitted to the scores of these, not of those in memory.
    """
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def card_text(card: Card) -> str:
    """A card as its file has it; ``TypeError`` or ``ValueError`` where it holds what JSON cannot."""
    return json.dumps(card.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_detector(name_or_path: str | os.PathLike[str]) -> tuple[Card, dict[str, Tensor]]:
    """Read card and tensors of a detector.

    Args:
        name_or_path: ``default`` or the name of another bundled detector, a folder, or one of its two files.

    Raises:
        UnmaskError: nothing is there, a file is missing, truncated, a pickle, of another format version, or
            makes no sense, or the weights are not those that the card was written for.
    """
    folder = find_detector(name_or_path)
    card = read_card(folder / CARD)
    return card, read_weights(folder / WEIGHTS, card.weights_sha256)


def find_detector(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a detector, see :func:`read_detector`; what is in it is not looked at.

    Raises:
        UnmaskError: there is no such folder, or nobody may look.
    """
    path = Path(name_or_path)
    try:
        return _find(path, str(name_or_path))
    except OSError as error:  # a name that is too long, a folder above that may not be searched
        raise UnmaskError(path, f"cannot be read: {error.strerror or error}") from error


def _find(path: Path, given: str) -> Path:
    if path.name in (CARD, WEIGHTS, ONNX) and path.is_file():
        return path.parent
    # A bare name means the bundled detector whatever lies in the current folder: `./default` is the folder.
    bundled = BUNDLED / path
    if given == path.name and path.name not in ("", ".", "..") and bundled.is_dir():
        return bundled
    if path.is_dir():
        return path
    if path.suffix.lower() in _PICKLES and path.exists():
        raise UnmaskError(path, f"is a pickle, which could run code; a detector is a folder with {WEIGHTS} and {CARD}")
    if path.exists():
        raise UnmaskError(path, f"is no detector: a folder with {WEIGHTS} and {CARD} is needed")
    names = sorted(entry.name for entry in BUNDLED.glob("*") if (entry / CARD).is_file())
    known = f"bundled detectors: {', '.join(names)}" if names else "this installation bundles no detector"
    raise UnmaskError(path, f"no such detector ({known})")


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.exists():
            others = sorted(item.name for item in path.parent.iterdir() if item.suffix.lower() in _PICKLES)
            instead = f"; {others[0]} is a pickle, which could run code and is not loaded" if others else ""
            raise UnmaskError(path, f"the file is missing{instead}")
        return path.read_bytes()
    except OSError as error:
        raise UnmaskError(path, f"cannot be read: {error.strerror or error}") from error


def read_card(path: Path) -> Card:
    """The card in a file.

    Raises:
        UnmaskError: it is missing, or makes no sense.
    """
    data = _read_bytes(path)
    try:
        return Card.from_json(json.loads(data.decode("utf-8"), parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        raise UnmaskError(path, f"is not JSON ({error})") from error
    except (ValueError, RecursionError) as error:
        raise UnmaskError(path, str(error)) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose SHA-256 is what the card beside it says; empty in one made by hand.

    Raises:
        UnmaskError: it is missing, truncated, a pickle, another file, or holds NaN or infinity.
    """
    # Cards are read without torch, weights are not.
    import safetensors.torch
    from safetensors import SafetensorError

    data = _read_bytes(path)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        # Asked only now: a safetensors file begins with a length, which can be any bytes.
        if data[:2] == b"PK" or (data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05"):
            reason = "is a pickle under another name; only safetensors are loaded, which run no code"
            raise UnmaskError(path, reason) from None
        raise UnmaskError(path, f"is truncated or no safetensors file ({error})") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise UnmaskError(path, f"is not the file that {CARD} was written for (its SHA-256 differs)")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UnmaskError(path, f"tensor {name} holds NaN or infinity")
    return tensors
