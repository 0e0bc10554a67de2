"""What a run leaves of its tests: the log-odds of every row, and the source that the row is of.

Both lie in one file, so that a comparison can be summed up wherever its runs are, without the data they were tested on.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.errors import UnmaskError
from unmask.writing import replacing

#: Name of the file in a run's folder.
SCORES = "scores.npz"
#: In the file: the names of all components, which every table's rows refer to by number.
_NAMES = "components"
_OF = "/component"


@dataclass(frozen=True)
class Scored:
    """The rows of one test table.

    Attributes:
        log_odds: (N,) raw log-odds of fake.
        component: (N,) the near-duplicate group of each row, which a bootstrap draws as one.
    """

    log_odds: npt.NDArray[np.float64]
    component: npt.NDArray[np.str_]


def write_scores(path: Path, scored: Mapping[str, Scored]) -> None:
    """Write the tables of one run, by their names (:meth:`Protocol.tables_of`), float32."""
    names, numbers = np.unique(np.concatenate([each.component for each in scored.values()]), return_inverse=True)
    arrays: dict[str, npt.NDArray[Any]] = {_NAMES: names}
    ends = np.cumsum([len(each.component) for each in scored.values()])
    for (name, each), mine in zip(scored.items(), np.split(numbers.astype(np.int32), ends[:-1]), strict=True):
        arrays |= {name: each.log_odds.astype(np.float32), name + _OF: mine}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_scores(path: Path) -> dict[str, Scored]:
    """What :func:`write_scores` wrote, float64.

    Raises:
        UnmaskError: the file cannot be read, or is of an earlier release, which did not write whose rows they are.
    """
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UnmaskError(path, f"cannot be read ({error})") from error
    if _NAMES not in held:
        raise UnmaskError(path, "does not say which sources its rows are of: an earlier release wrote it")
    names = held.pop(_NAMES)
    return {
        name: Scored(values.astype(np.float64), names[held[name + _OF]])
        for name, values in held.items()
        if not name.endswith(_OF)
    }
