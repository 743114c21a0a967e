"""Reward functions as public trainers write them, of every shape that they have there."""

import numpy as np
import pytest
import torch
from conftest import Client, checkerboard, item, pb

from flowawr_reward.adapter import from_function, resolve


def scores_of(serve, function, *items, **options):
    client = serve(from_function(function, name="adapted", **options))
    return client.score(*(items or (item(0), item(255))))


def rewards(results):
    assert not any(r.HasField("error") for r in results), results
    return [r.reward for r in results]


def brightness(images, prompts, metadata):
    return images.reshape(len(images), -1).mean(1)


def test_takes_its_name_from_the_function_and_asks_for_one_where_that_says_nothing():
    assert from_function(brightness).name == "brightness"
    with pytest.raises(ValueError, match="give the reward a name"):
        from_function(lambda images, prompts, metadata: [0])


def test_gives_the_pixels_exactly_in_every_form(serve):
    image = checkerboard(5, 7)
    seen = []

    def function(images, prompts, metadata):
        seen.append(images)
        return [1.0]

    for kind in ("torch", "numpy", "pil"):
        sent = pb.ScoreItem(image_rgb=image.tobytes(), height=5, width=7)
        rewards(scores_of(serve, function, sent, images=kind))
    tensor, array, pictures = seen
    assert tensor.shape == (1, 3, 5, 7) and tensor.dtype == torch.float32 and not tensor.requires_grad
    assert ((tensor * 255).round().clamp(0, 255).to(torch.uint8).numpy().transpose(0, 2, 3, 1)[0] == image).all()
    assert array.dtype == np.uint8 and (array[0] == image).all()
    assert (np.asarray(pictures[0]) == image).all()


def test_gives_prompts_and_metadata_as_the_trainers_do(serve):
    def function(images, prompts, metadata):
        assert prompts == ["two dogs", "a cat"]
        assert metadata[0] == {"tag": "counting", "include": [{"class": "dog", "count": 2}], "odd": "[not json"}
        return [len(each.get("include", "")) for each in metadata], {}

    first = item(prompt="two dogs", tag="counting", include='[{"class": "dog", "count": 2}]', odd="[not json")
    assert rewards(scores_of(serve, function, first, item(prompt="a cat"))) == [1, 0]


@pytest.mark.parametrize(
    "give",
    [
        lambda s: s,
        lambda s: s.tolist(),
        lambda s: tuple(s.tolist()),
        lambda s: s.numpy(),
        lambda s: s[:, None],
        lambda s: list(s),
        lambda s: (s, {}),
        lambda s: (s.tolist(), "anything"),
        lambda s: (s, s, s, {"position": s}, {}),  # GenEval's: scores first
        lambda s: {"only": s},
        lambda s: ({"ocr": s * 0, "avg": s.tolist()}, {}),  # several rewards and their weighted sum
        lambda s: s.to(torch.bfloat16).requires_grad_(),
    ],
)
def test_takes_scores_in_every_form(serve, give):
    assert rewards(scores_of(serve, lambda images, prompts, metadata: give(brightness(images, 0, 0)))) == [0, 1]


def test_what_is_told_of_each_image_becomes_details(serve):
    def function(images, prompts, metadata):
        return {"avg": [0.5, 0.25], "ocr": np.array([1.0, 0.0])}, {"text": ["CAT", "DOG"], "note": "of both", "n": [1]}

    first, second = scores_of(serve, function)
    assert dict(first.details) == {"ocr": "1", "text": "CAT"}
    assert dict(second.details) == {"ocr": "0", "text": "DOG"}
    assert [r.reward for r in scores_of(serve, function, key="ocr")] == [1, 0]


@pytest.mark.parametrize(
    ("give", "message"),
    [
        ([1.0, 2.0, 3.0], "gave 3 scores for 1 images"),
        (None, "gave a NoneType, expected scores"),
        (0.5, "gave a float, expected scores"),
        ((), "empty tuple"),
        ({"a": [1, 2], "b": [1, 2]}, "scores a, b: which is the reward is not said"),
        ([[1, 2], [3, 4]], "gave a list, expected a number"),
    ],
)
def test_what_are_no_scores_is_broken(serve, give, message):
    results = scores_of(serve, lambda images, prompts, metadata: give)
    assert {r.error.kind for r in results} == {pb.ScoreError.BROKEN}
    assert all(message in r.error.message for r in results)


def test_an_image_that_the_function_fails_at_costs_no_other(serve):
    def function(images, prompts, metadata):
        assert images.max() < 1, "too bright"
        return brightness(images, prompts, metadata)

    dark, bright, grey = scores_of(serve, function, item(0), item(255), item(51))
    assert dark.reward == 0 and grey.reward == pytest.approx(0.2)
    assert "too bright" in bright.error.message


def test_a_call_has_images_of_one_size(serve):
    sizes = []

    def function(images, prompts, metadata):
        sizes.append(tuple(images.shape))
        return brightness(images, prompts, metadata)

    items = item(0, 4, 4), item(51, 8, 4), item(255, 4, 4)
    assert rewards(scores_of(serve, function, *items, batch=3)) == pytest.approx([0, 0.2, 1])
    assert sorted(sizes) == [(1, 3, 8, 4), (2, 3, 4, 4)]


def test_runs_without_gradients(serve):
    weight = torch.ones(1, requires_grad=True)

    def function(images, prompts, metadata):
        return (brightness(images, prompts, metadata) * weight).numpy()  # which an array with gradients would refuse

    assert rewards(scores_of(serve, function)) == [0, 1]


def test_a_check_of_prompts_can_be_given(serve):
    client = serve(from_function(brightness, check=lambda prompt, metadata: None if prompt else "no prompt"))
    assert [r.error.message for r in client.score(item(1), item(1, prompt="x"))] == ["no prompt", ""]


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "their_rewards.py").write_text(
        "def plain(images, prompts, metadata): return [1]\n"
        "def factory(device, weights={}):\n"
        "    def _fn(images, prompts, metadata): return [len(weights)], {}\n"
        "    _fn.device = device\n"
        "    return _fn\n"
        "class Space:\n"
        "    inner = staticmethod(plain)\n"
    )
    (tmp_path / "needy.py").write_text("import a_package_that_is_not_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_finds_functions_and_calls_factories(module):
    assert resolve("their_rewards:plain")(0, 0, 0) == [1]
    assert resolve("their_rewards:Space.inner")(0, 0, 0) == [1]
    made = resolve("their_rewards:factory('cuda', weights={'ocr': 1.0, 'pickscore': 0.5})")
    assert made(0, 0, 0) == ([2], {}) and made.device == "cuda"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("their_rewards", "is no MODULE:NAME"),
        ("their_rewards:", "is no MODULE:NAME"),
        (":plain", "is no MODULE:NAME"),
        ("their_rewards:factory(device)", "the arguments literals"),
        ("their_rewards:plain + 1", "is no MODULE:NAME"),
        ("their_rewards:plane", "has no 'plane'; it has: plain, factory, Space"),
        ("nowhere.rewards:plain", "there is no module 'nowhere'"),
    ],
)
def test_what_names_nothing_is_told(module, text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        resolve(text)


def test_what_a_module_misses_is_its_own_error(module):
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_here"):
        resolve("needy:plain")


def test_the_command_serves_functions_as_they_are(module, start_process):
    factory = "their_rewards:factory('cpu', {'a': 1, 'b': 2})"
    functions = ["--function", "their_rewards:plain", "--function", factory, "--name", "first", "--name", "second"]
    process = start_process("-m", "flowawr_reward", *functions, cwd=module)
    client = Client(process.await_endpoint(), "first")
    assert client.score(item())[0].reward == 1
    client.scorer = "second"
    assert client.score(item())[0].reward == 2
