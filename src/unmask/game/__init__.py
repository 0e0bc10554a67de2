"""The game: the operator, the adversaries, the classifier, and one round between them."""

from unmask.game.blur import PixelwiseGaussianBlur, pixelwise_gaussian_blur

__all__ = ["PixelwiseGaussianBlur", "pixelwise_gaussian_blur"]
