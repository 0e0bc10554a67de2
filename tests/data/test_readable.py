from __future__ import annotations

from unmask.data.readable import readable
from unmask.errors import UnmaskError


def test_what_cannot_be_read_is_passed_over_and_named() -> None:
    def read(row: int) -> str:
        if row % 2:
            raise UnmaskError(f"t.parquet: row {row}", "is odd")
        return f"image {row}"

    left_out: list[dict[str, str]] = []
    assert dict(readable(range(1, 5), read, left_out)) == {2: "image 2", 4: "image 4"}
    assert left_out == [{"row": f"t.parquet: row {row}", "reason": "is odd"} for row in (1, 3)]
