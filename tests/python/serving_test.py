"""Batches, queues, deadlines, the watchdog: what holds however many ask, and however a reward behaves."""

import threading
import urllib.request
from concurrent import futures

import grpc
import pytest
from conftest import PATIENCE_S, ROOT, Client, await_true, item, pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flowawr_reward import Reward, RewardError

SERVICE = "flowawr.v1.RewardService"


class Levels(Reward):
    name = "levels"

    def __init__(self):
        self.batches = []

    def score(self, images, prompts, metadata):
        self.batches.append([int(image[0, 0, 0]) for image in images])
        return self.batches[-1]


class Gated(Levels):
    """Every call waits at the gate."""

    name = "gated"

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def score(self, images, prompts, metadata):
        self.gate.pass_through()
        return super().score(images, prompts, metadata)


def health_of(client, service):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(client.channel).Check(request, timeout=PATIENCE_S).status


def page_of(client):
    with urllib.request.urlopen(f"http://{client.server.metrics_endpoint}/metrics", timeout=PATIENCE_S) as page:
        return page.read().decode()


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return caught.value.code()


def test_batches_across_requests(serve):
    reward = Levels()
    client = serve(reward, max_batch=4, max_wait_ms=10_000)
    calls = [client.start(item(1), item(2)), client.start(item(3), item(4))]
    assert [[r.reward for r in call.result().results] for call in calls] == [[1, 2], [3, 4]]
    assert [len(batch) for batch in reward.batches] == [4]


def test_a_batch_that_does_not_fill_waits_no_longer_than_it_may(serve):
    reward = Levels()
    assert serve(reward, max_batch=64, max_wait_ms=1).score(item(7))[0].reward == 7


def test_a_large_request_does_not_hold_up_a_small_one(serve, gate):
    reward = Gated(gate)
    client = serve(reward, max_batch=1)
    large = client.start(*[item(1)] * 20)
    gate.await_one()
    small = client.start(item(2))
    await_true(lambda: client.info().queued_images == 20)
    gate.is_open.set()
    large.result(), small.result()
    assert reward.batches.index([2]) <= 3


def test_whoever_asks_gets_the_own_answers(serve):
    endpoint = serve(Levels(), max_batch=16, threads=2).server.endpoint

    def ask(number):
        client = Client(endpoint, "levels")
        answers = [[r.reward for r in client.score(item(number), item(255 - number))] for _ in range(10)]
        client.channel.close()
        return answers

    with futures.ThreadPoolExecutor(32) as pool:
        for number, answers in enumerate(pool.map(ask, range(32))):
            assert answers == [[number, 255 - number]] * 10


def test_what_finds_no_room_is_told_when_to_ask_again(serve, gate):
    client = serve(Gated(gate), max_batch=1, max_queued=2)
    gate.is_open.set()
    client.score(item(1))  # how long it takes is known from now on
    gate.is_open.clear()
    gate.has_come.clear()
    first = client.start(item(1))
    gate.await_one()
    waiting = client.start(*[item(2)] * 5)
    await_true(lambda: client.info().queued_images == 2)
    gate.is_open.set()
    first.result()
    results = waiting.result().results
    assert [r.HasField("error") for r in results] == [False, False, True, True, True]
    assert {r.error.kind for r in results[2:]} == {pb.ScoreError.OVERLOADED}
    assert 0 < results[4].error.retry_after_s <= 30


def test_what_nobody_waits_for_any_more_is_not_scored(serve, gate):
    reward = Gated(gate)
    client = serve(reward, max_batch=1)
    first = client.start(item(1))
    gate.await_one()
    late, cancelled, patient = client.start(item(2), timeout=0.2), client.start(item(3)), client.start(item(4))
    await_true(lambda: client.info().queued_images >= 2)
    cancelled.cancel()
    assert code_of(late) == grpc.StatusCode.DEADLINE_EXCEEDED
    await_true(lambda: client.info().queued_images == 1)
    gate.is_open.set()
    first.result(), patient.result()
    assert reward.batches == [[1], [4]]


def test_the_bytes_that_are_held_at_once_are_bounded(serve, gate):
    client = serve(Gated(gate), max_batch=1, max_pending_mib=1)
    first = client.start(item(1, height=512, width=512))
    gate.await_one()
    assert code_of(client.start(item(2, height=512, width=512))) == grpc.StatusCode.RESOURCE_EXHAUSTED
    gate.is_open.set()
    first.result()
    assert client.score(item(3, height=1024, width=1024))[0].reward == 3  # one request always fits


class Hanging(Gated):
    name = "hanging"


def test_a_call_that_never_returns_is_given_up_and_others_serve_on(serve, gate):
    client = serve(Hanging(gate), Levels(), max_batch=1, max_image_seconds=1)
    hung = client.start(item(1))
    gate.await_one()
    queued = client.start(item(2))
    for call in (hung, queued):
        (result,) = call.result().results
        assert result.error.kind == pb.ScoreError.BROKEN
    assert "takes more than 1 s an image" in hung.result().results[0].error.message

    await_true(lambda: health_of(client, "flowawr.scorer.hanging") == health_pb2.HealthCheckResponse.NOT_SERVING)
    info = client.info()
    assert info.health == pb.ScorerInfo.STUCK
    assert "has not returned" in info.health_message
    (refused,) = client.score(item(3))
    assert refused.error.kind == pb.ScoreError.BROKEN and "is stuck" in refused.error.message

    for service in ("", SERVICE, "flowawr.scorer.levels"):
        assert health_of(client, service) == health_pb2.HealthCheckResponse.SERVING
    other = Client(client.server.endpoint, "levels")
    assert other.score(item(5))[0].reward == 5

    gate.is_open.set()  # it returns after all
    await_true(lambda: client.info().health == pb.ScorerInfo.HEALTHY)
    assert client.score(item(6))[0].reward == 6


def test_a_server_whose_only_reward_is_stuck_is_not_serving(serve, gate):
    client = serve(Hanging(gate), max_image_seconds=0.1)
    client.score(item(1))
    await_true(lambda: health_of(client, "") == health_pb2.HealthCheckResponse.NOT_SERVING)


def test_a_hanging_call_leaves_the_other_threads_of_its_reward_at_work(serve, gate):
    class HangsAtOne(Hanging):
        def score(self, images, prompts, metadata):
            return super().score(images, prompts, metadata) if images[0][0, 0, 0] == 1 else [0.5]

    client = serve(HangsAtOne(gate), max_batch=1, threads=2, max_image_seconds=1)
    client.score(item(1))
    assert client.info().health == pb.ScorerInfo.HEALTHY
    assert client.score(item(2))[0].reward == 0.5


def test_a_stop_answers_what_is_under_way(serve, gate):
    client = serve(Gated(gate), max_batch=1, grace_s=PATIENCE_S)
    call = client.start(item(1))
    gate.await_one()
    stopping = threading.Thread(target=client.server.stop)
    stopping.start()
    gate.is_open.set()
    assert call.result().results[0].reward == 1
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()


def test_a_stop_does_not_wait_for_what_never_returns(serve, gate):
    client = serve(Gated(gate), max_batch=1, grace_s=0.1)
    call = client.start(item(1))
    gate.await_one()
    assert client.server.stop() is False
    assert code_of(call) in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_metrics_have_the_names_of_the_other_reward_server(serve):
    class Picky(Levels):
        def score(self, images, prompts, metadata):
            return [RewardError("no") if level == 0 else level for level in super().score(images, prompts, metadata)]

    client = serve(Picky(), max_batch=2, max_wait_ms=10_000)
    client.score(item(0), item(1))
    page = page_of(client)
    assert 'flowawr_build_info{process="python_reward",version="0.1.0"} 1.0' in page
    assert 'flowawr_scored_images_total{outcome="reward",scorer="levels"} 1.0' in page
    assert 'flowawr_scored_images_total{outcome="bad_input",scorer="levels"} 1.0' in page
    assert 'flowawr_scored_images_total{outcome="broken",scorer="levels"} 0.0' in page
    assert 'flowawr_scoring_batch_images_sum{scorer="levels"} 2.0' in page
    assert 'flowawr_scoring_seconds_count{scorer="levels"} 1.0' in page
    assert 'flowawr_scorer_queue_images{scorer="levels"} 0.0' in page
    ours = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE") and "_created" not in line}
    theirs = (ROOT / "reward_server/score_metrics.cc").read_text()
    assert len(ours) > 5
    assert all(f'"{name}"' in theirs for name in ours - {"flowawr_build_info"})


def test_an_exception_is_in_the_log_with_its_traceback_once(serve, caplog):
    class Raising(Levels):
        def score(self, images, prompts, metadata):
            raise ValueError("somewhere deep")

    client = serve(Raising())
    for _ in range(5):
        client.score(item(1))
    assert caplog.text.count("Traceback") == 1
    assert "reward levels: 1 image(s) got no reward" in caplog.text
    assert "somewhere deep" in caplog.text


def test_messages_are_bounded_and_never_compressed(serve):
    client = serve(Levels(), max_message_mib=1)
    assert code_of(client.start(item(1, height=700, width=700))) == grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        request = pb.ScoreRequest(scorer="levels", items=[item(1)])
        client.stub.Score(request, timeout=PATIENCE_S, compression=grpc.Compression.Gzip)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
