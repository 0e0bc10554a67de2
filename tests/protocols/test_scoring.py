"""The test side of a protocol: which rows of which table, and as the detector takes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.detectors import make_detector
from tests.tables import encode, write_table
from unmask.data.table import FaceTable
from unmask.detector import Scorer
from unmask.errors import UnmaskError
from unmask.protocols import read_protocol
from unmask.protocols.scoring import Tests


@pytest.fixture
def tests_of(small: Path) -> Tests:
    """The second data set is one table of two manipulations, of which the protocol names C."""
    write_table(small.parent / "data/other/all.parquet", 5, 6, seed=3, size=32, methods=("C", "D"))
    protocol = read_protocol(small)
    elsewhere = replace(protocol.tests[1], tables="other/all.parquet")
    return Tests(replace(protocol, tests=(protocol.tests[0], elsewhere)), small.parent / "data", small.parent / "cache")


def test_one_table_of_all_gives_each_test_its_rows(tests_of: Tests, small: Path, tmp_path: Path) -> None:
    scorer = Scorer.load(make_detector(tmp_path / "detector"))
    table = FaceTable.read(small.parent / "data/other/all.parquet")
    for kind, rows in (("real", range(5)), ("C", range(5, 11, 2))):
        name = f"elsewhere/{kind}/source"
        expected = scorer.prepare([table.image(row) for row in rows])
        pixels = tests_of.images(name, scorer).pixels
        np.testing.assert_array_equal(pixels, np.rint(expected.numpy().transpose(0, 2, 3, 1) * 255))
        assert tests_of.images(name, scorer).component.tolist() == [str(table.component[row]) for row in rows]


def test_a_table_of_a_manipulation_may_hold_its_reals_as_well(small: Path, tmp_path: Path) -> None:
    data = small.parent / "data"
    mixed = [pq.read_table(data / f"test/{name}/source.parquet") for name in ("A", "real")]
    pq.write_table(pa.concat_tables(mixed), data / "test/A/source.parquet")
    tests = Tests(read_protocol(small), data, small.parent / "cache")
    images = tests.images("here/A/source", Scorer.load(make_detector(tmp_path / "detector")))
    assert images.component.tolist() == FaceTable.read(data / "test/A/source.parquet").component[:8].tolist()


def test_a_share_of_the_components_is_the_same_in_every_table(small: Path, tmp_path: Path) -> None:
    protocol, scorer = read_protocol(small), Scorer.load(make_detector(tmp_path / "detector"))
    data, cache = small.parent / "data", small.parent / "cache"

    def components(every: int, kind: str) -> list[str]:
        tests = Tests(replace(protocol, tests=(replace(protocol.tests[0], every=every),)), data, cache)
        return tests.images(f"here/{kind}/source", scorer).component.tolist()

    kept = set(components(2, "real"))
    assert kept < set(components(1, "real"))
    for kind in "AB":
        assert components(2, kind) == [name for name in components(1, kind) if name in kept]


def test_a_manipulation_that_the_table_lacks_is_named(tests_of: Tests, small: Path, tmp_path: Path) -> None:
    path = small.parent / "data/other/all.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter([method != "C" for method in table["method"].to_pylist()]), path)
    with pytest.raises(UnmaskError, match=r"all\.parquet: has no row for the test elsewhere/C/source"):
        tests_of.images("elsewhere/C/source", Scorer.load(make_detector(tmp_path / "detector")))


def test_a_row_that_does_not_decode_is_left_out(small: Path, tmp_path: Path) -> None:
    path = small.parent / "data/other/C.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[2]["image"] = b"broken"
    pq.write_table(type(pq.read_table(path)).from_pylist(rows, pq.read_schema(path)), path)
    tests = Tests(read_protocol(small), small.parent / "data", tmp_path / "cache")
    images = tests.images("elsewhere/C/source", Scorer.load(make_detector(tmp_path / "detector")))
    assert len(images.pixels) == len(rows) - 1
    assert images.component.tolist() == [row["component"] for row in rows if row["image"] != b"broken"]


def test_faces_are_found_first_where_images_are_no_crops(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    portrait = pytest.importorskip("skimage.data").astronaut()
    rows = pq.read_table(small.parent / "data/other/real.parquet").slice(0, 3).to_pylist()
    for row, image in zip(
        rows, (portrait, np.full((200, 200, 3), 127, np.uint8), portrait[:300, 100:400]), strict=True
    ):
        row["image"] = encode(image)
    protocol = read_protocol(small)
    path = small.parent / "data/other/real.parquet"
    pq.write_table(type(pq.read_table(path)).from_pylist(rows, pq.read_schema(path)), path)
    tests = Tests(
        replace(protocol, tests=(replace(protocol.tests[1], recrop=True),)), small.parent / "data", tmp_path / "cache"
    )
    images = tests.images("elsewhere/real/source", Scorer.load(make_detector(tmp_path / "detector")))
    assert len(images.pixels) == 2  # the grey image has no face
    assert caplog.messages == [f"left out of the test: {path}: row 1: no face found"]
    kept = [rows[0]["component"], rows[2]["component"]]
    assert images.component.tolist() == kept
