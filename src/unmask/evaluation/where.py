"""Does the heat map show where a face was forged? Measured on forgeries of which one half was restored.

Forgeries of one kind change the same part of every face: a map that always glows in the middle would look right. So
one half of each forgery, on a random side of a random line through the middle of what was changed, becomes its original
again. Where the other half lies is then left to chance, and only a map that follows the forgery finds it.
"""

from __future__ import annotations

import functools
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.metrics import roc_auc_score

from unmask.data.originals import Originals
from unmask.errors import UnmaskError
from unmask.evaluation.bootstrap import Estimate, estimate_mean
from unmask.evaluation.evaluate import clusters_of
from unmask.evaluation.result import with_interval
from unmask.printing import cell, printable

if TYPE_CHECKING:
    from rich.table import Table

    from unmask.data.table import FaceTable
    from unmask.detector import Card

_BATCH = 32
#: Pixels belong to the forged half where the forgery's share is above this, to the restored one below 1 less this.
_SHARE = 0.75


class Explains(Protocol):
    """What :func:`measure_where` needs of a detector; both scorers have it."""

    @property
    def card(self) -> Card: ...

    def score(self, crops: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]: ...

    def heat(self, crops: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Half:
    """A forgery of which one half was restored.

    Attributes:
        crop: uint8 (H, W, 3).
        forged, restored: (H, W) bool, what is still forged, and what was and is no longer; neither is empty.
        row: of the forgery in its table.
    """

    crop: npt.NDArray[np.uint8]
    forged: npt.NDArray[np.bool_]
    restored: npt.NDArray[np.bool_]
    row: int = 0


class _Hit(NamedTuple):
    auc: float
    hottest: float
    anywhere: float
    area: float
    row: int


@dataclass(frozen=True)
class Where:
    """What the heat maps of one manipulation's fakes show.

    Attributes:
        method: the manipulation.
        halves: forgeries of which one half was restored.
        called_fake: of them, those still called fake: the others say nothing about where.
        auc: how well the map tells forged from restored pixels; chance is .5.
        hottest: share of faces where the hottest pixel of all that was changed is a forged one; chance is .5.
        anywhere: share of faces where the hottest pixel of the whole crop is a forged one.
        area: mean share of the crop that is forged, which is chance for ``anywhere``.
    """

    method: str
    halves: int
    called_fake: int
    auc: Estimate
    hottest: Estimate
    anywhere: Estimate
    area: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; estimates as ``value, low, high``."""
        found = asdict(self)
        return found | {name: getattr(self, name).to_json() for name in ("auc", "hottest", "anywhere")}


def restore_half(
    fake: npt.NDArray[np.uint8],
    original: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.float64],
    rng: np.random.Generator,
    row: int = 0,
) -> Half | None:
    """Put the original back on one side of a random line through the middle of the mask.

    Args:
        fake, original: uint8 (H, W, 3), pixel on pixel.
        mask: (H, W) in [0, 1], what was forged.

    Returns:
        None where too little was forged to lie on both sides of the seam.
    """
    changed = mask > 0.5
    rows, columns = np.nonzero(changed)
    if not len(rows):
        return None
    height, width = mask.shape
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[:height, :width]
    beyond = np.cos(angle) * (across - columns.mean()) + np.sin(angle) * (down - rows.mean())
    # A soft seam, 2 % of the width: a hard one would be an artefact of its own.
    share = 1 / (1 + np.exp(-beyond / (0.02 * width)))
    crop = original + share[..., None] * (fake.astype(np.float64) - original)
    forged, restored = changed & (share > _SHARE), changed & (share < 1 - _SHARE)
    return Half(crop.round().astype(np.uint8), forged, restored, row) if forged.any() and restored.any() else None


def measure_where(
    scorer: Explains,
    table: FaceTable,
    *,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Where]:
    """How well heat maps find the forged half, for each manipulation of a table.

    Args:
        scorer: the detector.
        table: forgeries with their ``mask``, and the originals they lie on, as ``unmask forge`` writes them.
        resamples: of the 95 % intervals, drawn by source; 0 for none.
        seed: of the halves and the intervals.
        progress: called with the table's name, forgeries done and fakes in all.

    Raises:
        UnmaskError: no forgery has a mask and its original in the table.
    """
    waiting, found = defaultdict[str, list[Half]](list), defaultdict[str, list[_Hit]](list)
    tried, fakes = Counter[str](), int(table.fake.sum())
    for half in _halves(table, seed):
        method = str(table.method[half.row])
        tried[method] += 1
        waiting[method].append(half)
        if len(waiting[method]) == _BATCH:
            found[method] += _measure(scorer, waiting.pop(method))
            if progress is not None:
                progress(table.name, tried.total(), fakes)
    if not tried:
        raise UnmaskError(table.name, "no forgery with a mask and its original: `unmask forge` writes both")
    for method, halves in waiting.items():
        found[method] += _measure(scorer, halves)
    clusters = clusters_of(table).astype(str)
    return [_summed(method, tried[method], found[method], clusters, resamples, seed) for method in sorted(tried)]


def render(name: str, found: Sequence[Where]) -> Table:
    """As a rich table, one line a manipulation."""
    from rich.table import Table

    heads = ("half forged", "called fake", "AUC of the map", "hottest in forged half", "hottest of all", "its area")
    shown = Table(printable(name), *heads)
    for each in found:
        figures = map(with_interval, (each.auc, each.hottest, each.anywhere))
        shown.add_row(cell(each.method), str(each.halves), str(each.called_fake), *figures, f"{each.area:.3f}")
    return shown


def _halves(table: FaceTable, seed: int) -> Iterator[Half]:
    originals = Originals(table)
    for row in np.flatnonzero(table.fake).tolist():
        real, mask = originals.exactly_of(row), table.row(row).get("mask")
        if real is None or mask is None:
            continue
        fake, original = table.image(row), table.image(real)
        share = np.asarray(Image.open(io.BytesIO(mask)).convert("L"), np.float64) / 255
        if fake.shape == original.shape == (*share.shape, 3):
            half = restore_half(fake, original, share, np.random.default_rng([seed, row]), row)
            if half is not None:
                yield half


def _measure(scorer: Explains, halves: list[Half]) -> Iterator[_Hit]:
    import cv2

    fake = scorer.score([half.crop for half in halves]) >= scorer.card.threshold
    kept = [half for half, called in zip(halves, fake, strict=True) if called]
    for half, cells in zip(kept, scorer.heat([half.crop for half in kept]), strict=True):
        height, width = half.forged.shape
        heat = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        changed = half.forged | half.restored
        auc = float(roc_auc_score(half.forged[changed], heat[changed]))
        hottest = half.forged.flat[np.where(changed, heat, -np.inf).argmax()]
        yield _Hit(auc, float(hottest), float(half.forged.flat[heat.argmax()]), float(half.forged.mean()), half.row)


def _summed(
    method: str, tried: int, hits: list[_Hit], clusters: npt.NDArray[np.str_], resamples: int, seed: int
) -> Where:
    auc, hottest, anywhere, area, rows = np.array(hits, dtype=np.float64).reshape(-1, len(_Hit._fields)).T
    mean = functools.partial(estimate_mean, clusters=clusters[rows.astype(int)], resamples=resamples, seed=seed)
    share = float(area.mean()) if hits else 0.0
    return Where(method, tried, len(hits), mean(auc), mean(hottest), mean(anywhere), share)
