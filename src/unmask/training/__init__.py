"""Training runs: recipe, loop, checkpoints, and the detector file that comes out."""

from unmask.training.recipe import Recipe, read_recipe
from unmask.training.train import train

__all__ = ["Recipe", "read_recipe", "train"]
