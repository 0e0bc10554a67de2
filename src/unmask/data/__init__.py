"""Face tables: reading them, drawing batches from them, augmentation."""

from unmask.data.table import FaceTable

__all__ = ["FaceTable"]
