"""What a reward is: subclass `Reward`, and give for each image a number or an error."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

#: [height, width, 3], RGB, 8 bits; read-only.
Image: TypeAlias = npt.NDArray[np.uint8]
#: What the prompt set carried beside the prompt. What was no string there is JSON text here.
Metadata: TypeAlias = Mapping[str, str]


class Kind(enum.Enum):
    """Of an error; the actor acts on it."""

    BAD_INPUT = 1  #: this image or prompt can never be scored: nobody asks again
    OVERLOADED = 2  #: ask again, after `retry_after_s` if that is known
    BROKEN = 3  #: the reward failed: another server may do better


class RewardError(Exception):
    """Why an image has no reward. Raise it, or return it in the image's place. A missing reward is never a 0."""

    def __init__(self, message: str, kind: Kind = Kind.BAD_INPUT, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s


#: For one image: the reward, finite and at most 1e6 in size (whatever float() takes: a number of numpy or torch, too);
#: or the reward and details for people, by name, such as what was read; or why there is none.
Result: TypeAlias = "float | np.number[Any] | np.bool_ | tuple[float, Mapping[str, object]] | RewardError"


class Reward:
    """One reward. A subclass has a `name` and gives either `score_one`, image by image, or `score`, in batches.

    The same image, prompt and metadata must always get the same reward, whatever else is in the batch, or a run cannot
    be repeated. An exception costs the image that raised it (in a batch: those that raise it again when they are scored
    one by one), never the others.
    """

    name: str = ""  #: by which configurations ask for it: letters, digits, '_', '-' and '.', at most 64
    version: str = ""  #: of code and model, kept in the records of every group; default: the name
    weights_sha256: str = ""  #: of the weights that score, in hexadecimal; empty when there are none
    memory_bytes: int = 0  #: of the weights; 0: not told
    options: Mapping[str, str] = {}  #: shown by `flowawr reward list`

    batch: int = 32  #: images that one call of `score` is best given; `score_one` gets one in any case
    threads: int = 1  #: calls side by side; more than 1 only for what is thread-safe and leaves Python's lock

    #: Whether `score_one` is what the subclass gives: set by the class itself.
    is_by_image: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.is_by_image = cls.score is Reward.score

    def load(self) -> None:
        """Called once before the server serves: the place to load weights and to warm up."""

    def check(self, prompt: str, metadata: Metadata) -> str | None:
        """Why no image of this prompt can ever be scored; None if it can. Quick: asked of all prompts before a run
        begins. Also asked before an image is scored, which is then a BAD_INPUT, so that scoring can rely on it."""
        return None

    def score_one(self, image: Image, prompt: str, metadata: Metadata) -> Result:
        """The reward of one image."""
        raise NotImplementedError(f"{type(self).__name__} gives neither score_one() nor score()")

    def score(self, images: Sequence[Image], prompts: Sequence[str], metadata: Sequence[Metadata]) -> Sequence[Result]:
        """One result an image, in order; a list, or a 1-D array or tensor. Images of a batch may differ in size."""
        return [self.score_one(*item) for item in zip(images, prompts, metadata, strict=True)]


def to_pil(image: Image) -> PilImage:
    """The image as PIL has it. Needs pillow."""
    from PIL import Image as pil

    return pil.fromarray(image)
