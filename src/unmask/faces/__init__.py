"""From a file to faces: open, sample, find, link over frames, crop.

>>> from unmask import faces
>>> media = faces.read_media("clip.mp4")
>>> found = faces.MTCNN()([frame.image for frame in media.frames])
>>> track = faces.link_tracks(found)[0]
>>> position, face = track.faces[0]
>>> crop = faces.CropRecipe().crop(media.frames[position].image, face.box)
"""

from __future__ import annotations

from unmask.faces.align import align_matrix, aligned_crop
from unmask.faces.crop import CropRecipe
from unmask.faces.face import Box, Face, FaceDetector
from unmask.faces.follow import FaceFollower
from unmask.faces.media import Frame, Media, MediaStream, find_media, is_media, read_media
from unmask.faces.mtcnn import MTCNN
from unmask.faces.noticed import Noticed
from unmask.faces.tracks import Scenes, Track, find_scenes, link_tracks

__all__ = [
    "MTCNN",
    "Box",
    "CropRecipe",
    "Face",
    "FaceDetector",
    "FaceFollower",
    "Frame",
    "Media",
    "MediaStream",
    "Noticed",
    "Scenes",
    "Track",
    "align_matrix",
    "aligned_crop",
    "find_media",
    "find_scenes",
    "is_media",
    "link_tracks",
    "read_media",
]
