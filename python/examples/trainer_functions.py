"""Reward functions as public trainers write them, served without a change:

flowawr-reward --function trainer_functions:redness                  # in python/examples
flowawr-reward --function "trainer_functions:contrast(power=2)" --name contrast
"""


def redness(images, prompts, metadata):
    """[N, 3, H, W] floats of 0 to 1 in, N scores and details of each image out."""
    red, green, blue = images.mean((2, 3)).unbind(1)
    return red - (green + blue) / 2, {"red": red}


def contrast(power=1):
    """A factory, as they are called with a device."""

    def _fn(images, prompts, metadata):
        return images.std((1, 2, 3)) ** power, {}

    return _fn
