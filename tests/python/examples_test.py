"""The examples, as the documentation has people start them."""

import pytest
from conftest import PACKAGE, Client, item, pb
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = PACKAGE / "examples"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"  # Debian: fonts-dejavu-core


def picture(text, width, height, size):
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((width / 2, height / 2), text, "black", ImageFont.truetype(FONT, size), anchor="mm")
    return pb.ScoreItem(image_rgb=image.tobytes(), height=height, width=width, prompt='a sign that says "CAT"')


def test_a_whole_reward_is_fifteen_lines():
    lines = (EXAMPLES / "brightness.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 15


def test_functions_of_trainers(start_process):
    process = start_process(
        "-m", "flowawr_reward", "--function", "trainer_functions:redness",
        "--function", "trainer_functions:contrast(power=2)", "--name", "redness", "--name", "contrast",
        cwd=EXAMPLES)  # fmt: skip
    client = Client(process.await_endpoint(), "redness")
    red = pb.ScoreItem(image_rgb=bytes([255, 0, 0] * 4), height=2, width=2)
    first, second = client.score(red, item(100))
    assert (first.reward, second.reward) == (1, 0)
    assert dict(first.details) == {"red": "1"}
    client.scorer = "contrast"
    assert client.score(item(100))[0].reward == 0


@pytest.mark.parametrize(("layout", "size"), [("line", (64, 32, 30)), ("scene", (256, 128, 60))])
def test_reads_by_paddle_ocr(start_process, layout, size):
    pytest.importorskip("rapidocr_onnxruntime", reason="it has no release for this Python")
    process = start_process(
        "-m", "flowawr_reward", "--reward", f"paddle_ocr:PaddleOcr(layout='{layout}')", cwd=EXAMPLES
    )
    client = Client(process.await_endpoint(), "paddle_ocr")
    right, wrong, none = picture("CAT", *size), picture("CUP", *size), item(255, 32, 64, prompt="no text wanted")
    results = client.score(right, wrong, none)
    assert (results[0].reward, results[0].details["text"], results[0].details["exact"]) == (1, "CAT", "true")
    assert results[1].reward == pytest.approx(1 / 3)
    assert "no double-quoted text" in results[2].error.message
    assert client.info().version == f"rapidocr-onnxruntime PP-OCRv4 {layout}"
