"""How bright an image is, 0 to 1, or how dark where the prompt's metadata `want` says so: a whole reward."""

from flowawr_reward import Reward, serve


class Brightness(Reward):
    name = "brightness"

    def check(self, prompt, metadata):
        if metadata.get("want", "bright") not in ("bright", "dark"):
            return f'metadata "want" is {metadata["want"]!r}, expected bright or dark'
        return None

    def score_one(self, image, prompt, metadata):
        light = image.mean() / 255
        return 1 - light if metadata.get("want") == "dark" else light


if __name__ == "__main__":
    serve(Brightness())
