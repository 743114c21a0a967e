"""What the server itself costs, and what Python's lock costs: prints the tables of docs/rewards.md.

    PYTHONPATH=python .venv/bin/python python/bench/overhead.py [--seconds 5]

Every server and every client is a process of its own. A call has 8 images of 32 x 64 pixels, or 1 of 512 x 512.
"""

import argparse
import multiprocessing
import time

import grpc
import numpy as np

from flowawr_reward import Reward, Server, ServerOptions, protocol


class Empty(Reward):
    name = "empty"

    def score_one(self, image, prompt, metadata):
        return 0.5


class EmptyBatch(Reward):
    name = "empty_batch"

    def score(self, images, prompts, metadata):
        return [0.5] * len(images)


class PurePython(Reward):
    """About 5 ms that hold the lock."""

    name = "pure_python"

    def score_one(self, image, prompt, metadata):
        return sum(i & 1 for i in range(100_000)) / 1e6


class Library(Reward):
    """About 5 ms in a library that leaves the lock."""

    name = "library"

    def score_one(self, image, prompt, metadata):
        vector = np.full(1_000_000, float(image[0, 0, 0]))
        for _ in range(3):
            np.sqrt(vector, out=vector)
        return float(vector[0])


def run_server(rewards, options, endpoint):
    server = Server(*(kind() for kind in rewards), options=ServerOptions(**options))
    endpoint.send(server.endpoint)
    endpoint.recv()
    server.stop()


def run_client(endpoint, scorer, sides, count, seconds, start, times):
    request, response = protocol.methods()["Score"]
    call = grpc.insecure_channel(endpoint).unary_unary(
        f"/{protocol.SERVICE}/Score",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    height, width = sides
    image = {"image_rgb": bytes(height * width * 3), "height": height, "width": width, "prompt": 'a sign "CAT"'}
    message = request(scorer=scorer, items=[image] * count)
    call(message)
    start.wait()
    found, end = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        assert all(result.reward >= 0 and not result.HasField("error") for result in call(message).results)
        found.append(time.monotonic() - begun)
    times.put(found)


class Servers:
    """Processes that serve the same rewards."""

    def __init__(self, *rewards, count=1, **options):
        self._ends = []
        for _ in range(count):
            ours, theirs = multiprocessing.Pipe()
            multiprocessing.Process(target=run_server, args=(rewards, options, theirs)).start()
            self._ends.append(ours)
        self.endpoints = [end.recv() for end in self._ends]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in self._ends:
            end.send(None)


def measure(servers, load, seconds):
    """`load` are clients as (scorer, sides, images a call); returns the times of the calls of each."""
    start, queues, clients = multiprocessing.Barrier(len(load)), [], []
    for i, (scorer, sides, count) in enumerate(load):
        queues.append(multiprocessing.SimpleQueue())
        endpoint = servers.endpoints[i % len(servers.endpoints)]
        arguments = (endpoint, scorer, sides, count, seconds, start, queues[-1])
        clients.append(multiprocessing.Process(target=run_client, args=arguments))
        clients[-1].start()
    times = [queue.get() for queue in queues]
    for client in clients:
        client.join()
    return times


def row(name, times, images, seconds):
    calls = np.concatenate([np.asarray(each) for each in times])
    rate = len(calls) * images / seconds
    print(f"| {name} | {rate:,.0f} | {np.median(calls) * 1e3:.2f} | {np.percentile(calls, 99) * 1e3:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    seconds = parser.parse_args().seconds
    small, large = (32, 64), (512, 512)

    print("| an empty reward | images/s | ms a call, median | p99 |\n|---|---|---|---|")
    for reward in (Empty, EmptyBatch):
        with Servers(reward) as servers:
            for clients in (1, 8):
                for sides, count in ((small, 8), (large, 1)):
                    times = measure(servers, [(reward.name, sides, count)] * clients, seconds)
                    row(f"{reward.name}, {clients} clients, {count} of {sides[0]} x {sides[1]}", times, count, seconds)

    print("\n| 5 ms an image, 8 clients | images/s | ms a call, median | p99 |\n|---|---|---|---|")
    for reward in (PurePython, Library):
        for threads, count in ((1, 1), (2, 1), (1, 2)):
            with Servers(reward, threads=threads, count=count) as servers:
                times = measure(servers, [(reward.name, small, 1)] * 8, seconds)
                row(f"{reward.name}, {count} servers, {threads} threads", times, 1, seconds)

    print("\n| an empty reward beside a busy one | images/s | ms a call, median | p99 |\n|---|---|---|---|")
    for busy in ((), (PurePython,), (Library,)):
        with Servers(Empty, *busy) as servers:
            load = [("empty", small, 8), *((kind.name, small, 1) for kind in busy)]
            row(f"beside {busy[0].name if busy else 'none'}", measure(servers, load, seconds)[:1], 8, seconds)


if __name__ == "__main__":
    main()
