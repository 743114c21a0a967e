"""A reward for FlowAWR training runs: subclass `Reward`, then `serve()` it.

    from flowawr_reward import Reward, serve

    class Brightness(Reward):
        name = "brightness"

        def score_one(self, image, prompt, metadata):
            return image.mean() / 255

    serve(Brightness())

Images are numpy arrays [height, width, 3], uint8. Functions of other trainers: `flowawr_reward.adapter`.
"""

from .command import serve
from .refused import Refused
from .reward import Image, Kind, Metadata, Result, Reward, RewardError, to_pil
from .server import Server, ServerOptions

__all__ = [
    "Image",
    "Kind",
    "Metadata",
    "Refused",
    "Result",
    "Reward",
    "RewardError",
    "Server",
    "ServerOptions",
    "serve",
    "to_pil",
]
