"""What was noticed about a file that frames were taken from, besides the frames."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.faces.texts import Text


@dataclass(frozen=True)
class Noticed:
    """What to keep in mind about the frames of a file.

    Attributes:
        loss: of a damaged video, seconds that could be read, and seconds that there should be, if the file tells; None
            if no more than a little is missing, as far as the file itself tells. Frames that do not decode are counted
            where another choice was made for them.
        several: whether the file holds further pages or videos, which were not looked at.
        combed: how many of the frames taken so far showed two moments, as interlaced ones do where things move; of
            these every second line was taken.
        texts: what the metadata of the file says.
    """

    loss: tuple[float, float | None] | None = None
    several: bool = False
    combed: int = 0
    texts: tuple[Text, ...] = ()

    @property
    def damage(self) -> str:
        """The loss in words; empty if there is none."""
        if self.loss is None:
            return ""
        read, promised = self.loss
        how_much = f"its first {read:.1f} s" if promised is None else f"{read:.1f} s of {promised:.1f} s"
        return f"the video is damaged: only {how_much} could be read"
