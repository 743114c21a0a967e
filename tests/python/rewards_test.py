"""What rewards give, do and get wrong, and what comes of it for each image."""

import math

import grpc
import numpy as np
import pytest
from conftest import item, pb

from flowawr_reward import Kind, Reward, RewardError


class Level(Reward):
    """The first pixel's level, or what `act` makes of it."""

    name = "level"
    version = "level 7"

    def __init__(self, act=float):
        self.act = act

    def score_one(self, image, prompt, metadata):
        return self.act(image[0, 0, 0])


class Levels(Reward):
    """The same in batches; `act` gets the levels."""

    name = "levels"

    def __init__(self, act):
        self.act, self.batches = act, []

    def score(self, images, prompts, metadata):
        self.batches.append(len(images))
        return self.act([int(image[0, 0, 0]) for image in images])


def kinds(results):
    return [r.error.kind if r.HasField("error") else r.reward for r in results]


def fail_at(level):
    def act(found):
        if found == level:
            raise ValueError(f"level {level} frightens me")
        return float(found)

    return act


def test_gives_what_an_image_prompt_and_metadata_make(serve):
    class Seen(Reward):
        name = "seen"

        def score_one(self, image, prompt, metadata):
            assert image.dtype == np.uint8
            details = {"shape": image.shape, "prompt": prompt, "exact": True, **metadata}
            return image.sum(), details

    (result,) = serve(Seen()).score(item(3, height=4, width=5, prompt="a sign", target="CAT"))
    assert result.reward == 3 * 4 * 5 * 3
    assert dict(result.details) == {"shape": "(4, 5, 3)", "prompt": "a sign", "exact": "true", "target": "CAT"}


def test_tells_version_and_weights_in_every_answer(serve):
    reward = Level()
    reward.weights_sha256 = "ab" * 32
    response = serve(reward).start(item()).result()
    assert (response.scorer_version, response.weights_sha256) == ("level 7", "ab" * 32)


def test_an_exception_costs_its_image_only(serve):
    results = serve(Level(fail_at(2))).score(item(1), item(2), item(3))
    assert kinds(results) == [1, pb.ScoreError.BROKEN, 3]
    assert results[1].error.message == "score_one() raised ValueError: level 2 frightens me"


def test_an_exception_in_a_batch_costs_the_image_that_raises_it_alone(serve):
    reward = Levels(lambda levels: [fail_at(2)(level) for level in levels])
    results = serve(reward).score(item(1), item(2), item(3))
    assert kinds(results) == [1, pb.ScoreError.BROKEN, 3]
    assert "level 2 frightens me" in results[1].error.message
    assert reward.batches == [3, 1, 1, 1]


def test_a_wrong_count_costs_the_images_that_it_is_wrong_for_alone(serve):
    results = serve(Levels(lambda levels: [level for level in levels if level != 2])).score(item(1), item(2), item(3))
    assert kinds(results) == [1, pb.ScoreError.BROKEN, 3]
    assert "0 results came for 1 images" in results[1].error.message


def test_an_end_of_the_interpreter_is_an_exception_like_others(serve):
    def leave(level):
        raise SystemExit(3)

    client = serve(Level(leave))
    assert kinds([*client.score(item(1)), *client.score(item(2))]) == [pb.ScoreError.BROKEN] * 2


@pytest.mark.parametrize(
    "number", [0.25, 1, True, np.float32(0.25), np.float64(2), np.int64(3), np.bool_(True), np.array(2.0)]
)
def test_takes_every_kind_of_number(serve, number):
    assert serve(Level(lambda _: number)).score(item())[0].reward == float(number)


@pytest.mark.parametrize("numbers", [np.array([1.5, 2.5]), (1.5, 2.5), [1.5, np.float32(2.5)]])
def test_takes_every_kind_of_list(serve, numbers):
    assert kinds(serve(Levels(lambda _: numbers)).score(item(), item())) == [1.5, 2.5]


def test_takes_tensors(serve):
    torch = pytest.importorskip("torch")
    numbers = torch.tensor([1.5, 2.5], requires_grad=True, dtype=torch.bfloat16)
    assert kinds(serve(Levels(lambda _: numbers)).score(item(), item())) == [1.5, 2.5]
    assert serve(Level(lambda _: torch.tensor(0.5))).score(item())[0].reward == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (math.nan, "no number of at most 1000000 in size"),
        (-math.inf, "no number of at most 1000000 in size"),
        (1e7, "no number of at most 1000000 in size"),
        (None, "gave None, expected a number"),
        ("0.5", "gave a str, expected a number"),
        ({"reward": 1}, "gave a dict, expected a number"),
        ([1.0], "gave a list, expected a number"),
        (np.array([1.0, 2.0]), "gave a ndarray, expected a number"),
        (1j, "gave a complex, expected a number"),
        ((1.0, 2.0), "expected (reward, details)"),
        (object(), "gave a object, expected a number"),
    ],
)
def test_what_is_no_reward_is_broken_for_its_image_only(serve, given, message):
    results = serve(Levels(lambda levels: [given if level == 2 else level for level in levels])).score(item(1), item(2))
    assert kinds(results) == [1, pb.ScoreError.BROKEN]
    assert message in results[1].error.message


@pytest.mark.parametrize("given", [None, 0.5, "ab", {"a": 1, "b": 2}, iter([1, 2])])
def test_what_is_no_list_is_broken(serve, given):
    results = serve(Levels(lambda _: given)).score(item(), item())
    assert kinds(results) == [pb.ScoreError.BROKEN] * 2
    assert "expected a list of one result an image" in results[0].error.message


@pytest.mark.parametrize("is_raised", [True, False])
def test_errors_have_the_kind_that_the_reward_says(serve, is_raised):
    errors = [
        RewardError("no face"),
        RewardError("quota", Kind.OVERLOADED, retry_after_s=2.5),
        RewardError("gpu", Kind.BROKEN),
    ]

    def act(level):
        if is_raised:
            raise errors[level]
        return errors[level]

    results = serve(Level(act)).score(item(0), item(1), item(2))
    assert kinds(results) == [pb.ScoreError.BAD_INPUT, pb.ScoreError.OVERLOADED, pb.ScoreError.BROKEN]
    assert [r.error.message for r in results] == ["no face", "quota", "gpu"]
    assert [r.error.retry_after_s for r in results] == [0, 2.5, 0]


def test_texts_are_cut_to_their_bounds_and_are_utf8(serve):
    def act(level):
        if level == 1:
            raise ValueError("ü" * 5000)
        return 1.0, {f"key {i:02}" + "k" * 100: "\ud800ß" * 2000 for i in range(40)}

    fine, failed = serve(Level(act)).score(item(0), item(1))
    assert len(failed.error.message.encode()) <= 1024 and failed.error.message.endswith("...")
    assert len(fine.details) == 16
    assert all(len(key.encode()) <= 64 and len(text.encode()) <= 1024 for key, text in fine.details.items())


class Wanting(Level):
    name = "wanting"

    def check(self, prompt, metadata):
        if prompt == "crash":
            raise KeyError("mood")
        return None if "mood" in metadata else "metadata mood is missing"


def test_checks_prompts_before_a_run_and_images_before_they_are_scored(serve):
    client = serve(Wanting())
    prompts = [
        pb.PromptToCheck(text="fine", metadata={"mood": "x"}),
        pb.PromptToCheck(text="bare"),
        pb.PromptToCheck(text="crash"),
    ]
    faults = client.call("CheckPrompts", pb.CheckPromptsRequest(scorer="wanting", prompts=prompts)).faults
    assert [(f.index, f.message) for f in faults] == [
        (1, "metadata mood is missing"),
        (2, "check() raised KeyError: 'mood'"),
    ]
    results = client.score(item(5, mood="x"), item(6))
    assert kinds(results) == [5, pb.ScoreError.BAD_INPUT]


def test_loads_before_it_serves(serve):
    class Late(Level):
        is_loaded = False

        def load(self):
            self.is_loaded = True

        def score_one(self, image, prompt, metadata):
            return self.is_loaded

    assert serve(Late()).score(item())[0].reward == 1


@pytest.mark.parametrize(
    "bad",
    [
        pb.ScoreItem(),
        pb.ScoreItem(height=0, width=4),
        item(height=300, width=1),
        pb.ScoreItem(image_rgb=b"123", height=1, width=2),
        pb.ScoreItem(image_rgb=b"1234", height=1, width=1),
        pb.ScoreItem(height=2**31, width=2**31),
        item(prompt="x" * (64 << 10) + "x"),
        item(target="ü" * (33 << 10)),
    ],
)
def test_a_malformed_image_is_told_so_and_never_scored(serve, bad):
    scored = []
    results = serve(Level(lambda level: scored.append(level) or 1.0), max_image_side=256).score(bad, item(9))
    assert kinds(results) == [pb.ScoreError.BAD_INPUT, 1]
    assert scored == [9]


@pytest.mark.parametrize("count", [0, 4097])
def test_a_request_of_no_or_too_many_images_is_refused(serve, count):
    with pytest.raises(grpc.RpcError) as caught:
        serve(Level()).score(*[pb.ScoreItem()] * count)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_reward_is_not_found_with_the_nearest_name(serve):
    client = serve(Level())
    client.scorer = "levle"
    with pytest.raises(grpc.RpcError) as caught:
        client.score(item())
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert 'did you mean "level"?' in caught.value.details()


def test_several_rewards_are_served_side_by_side(serve):
    client = serve(Level(), Levels(lambda levels: [-level for level in levels]))
    names = [each.name for each in client.call("ListScorers", pb.ListScorersRequest()).scorers]
    assert names == ["level", "levels"]
    assert client.score(item(4))[0].reward == 4
    client.scorer = "levels"
    assert client.score(item(4))[0].reward == -4


def test_lists_what_there_is_to_know(serve):
    reward = Levels(lambda levels: [1.0 for _ in levels if levels != [2]])
    reward.options, reward.memory_bytes, reward.weights_sha256 = {"layout": "line"}, 7, "cd"
    client = serve(reward, max_batch=3)
    assert not client.info().HasField("seconds_since_use")
    client.score(item(1))
    client.score(item(2))
    info = client.info()
    assert (info.kind, info.version, info.images_scored, info.errors) == ("python", "levels", 1, 1)
    assert (info.largest_batch, info.memory_bytes, info.weights_sha256) == (3, 7, "cd")
    assert dict(info.options) == {"layout": "line"}
    assert info.health == pb.ScorerInfo.HEALTHY and not info.health_message
    assert 0 <= info.seconds_since_use < 60


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("LoadScorer", pb.LoadScorerRequest(kind="ocr"), grpc.StatusCode.UNIMPLEMENTED),
        ("LoadScorer", pb.LoadScorerRequest(name="level", kind="x"), grpc.StatusCode.ALREADY_EXISTS),
        ("ReloadScorer", pb.LoadScorerRequest(name="level"), grpc.StatusCode.UNIMPLEMENTED),
        ("ReloadScorer", pb.LoadScorerRequest(name="other"), grpc.StatusCode.NOT_FOUND),
        ("UnloadScorer", pb.UnloadScorerRequest(name="level"), grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_its_rewards_stay_what_they_are(serve, method, request_, code):
    with pytest.raises(grpc.RpcError) as caught:
        serve(Level()).call(method, request_)
    assert caught.value.code() == code
    assert "level" in caught.value.details() or code == grpc.StatusCode.UNIMPLEMENTED
