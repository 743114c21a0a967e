#!/usr/bin/env python3
"""A reward server in Python: copy it, and put your model into `Warmth`.

It speaks proto/flowawr/v1/reward.proto, whose Python code is made when it starts. Needs numpy, grpcio, grpcio-tools and
grpcio-health-checking (`.venv/bin/pip install -r scripts/requirements-test.txt` has them all).

    python3 python/reward_example.py --listen 127.0.0.1:7000

and in the run's configuration

    rewards:
      terms:
        - {scorer: warmth, endpoint: "127.0.0.1:7000"}
"""

import argparse
import importlib
import os
import pathlib
import signal
import sys
import tempfile
import threading
from concurrent import futures

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parent.parent / "proto"
SERVICE = "flowawr.v1.RewardService"


def make_stubs():
    with tempfile.TemporaryDirectory() as folder:
        source = "flowawr/v1/reward.proto"
        if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}", source]) != 0:
            raise SystemExit(f"{PROTO / source} cannot be compiled")
        sys.path.insert(0, folder)
        return [importlib.import_module(f"flowawr.v1.reward_{kind}") for kind in ("pb2", "pb2_grpc")]


pb, pb_grpc = make_stubs()


class Warmth:
    """The reward: how much more red than blue an image is, -1 to 1; the reverse where metadata `want` is cold."""

    name = "warmth"
    version = "warmth 1"

    def check(self, prompt, metadata):
        """Why no image of this prompt can ever be scored; None if it can. Asked of all prompts before a run begins."""
        if metadata.get("want", "warm") not in ("warm", "cold"):
            return f'metadata "want" is {metadata["want"]!r}, expected warm or cold'
        return None

    def score(self, image, prompt, metadata):
        """`image` is [height, width, 3], uint8. Returns a finite number, at most 1e6 in size, and details for people."""
        red, _, blue = image.reshape(-1, 3).mean(0)
        warmth = (red - blue) / 255
        details = {"red": f"{red:.0f}", "blue": f"{blue:.0f}"}
        return float(-warmth if metadata.get("want") == "cold" else warmth), details


class Server(pb_grpc.RewardServiceServicer):
    def __init__(self, *scorers):
        self.scorers = {scorer.name: scorer for scorer in scorers}

    def find(self, name, context):
        if name not in self.scorers:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no scorer {name!r} here; there are: {', '.join(self.scorers)}")
        return self.scorers[name]

    def Score(self, request, context):
        scorer = self.find(request.scorer, context)
        response = pb.ScoreResponse(scorer_version=scorer.version)
        for item in request.items:
            if not context.is_active():  # the caller has gone, or its deadline has passed: nobody waits for the rest
                break
            response.results.append(self.score_one(scorer, item))
        return response

    def score_one(self, scorer, item):
        error = pb.ScoreError
        if not 0 < len(item.image_rgb) == item.height * item.width * 3:
            return pb.ScoreResult(error=error(kind=error.BAD_INPUT, message="the image's bytes do not fit its sides"))
        if why := scorer.check(item.prompt, item.metadata):
            return pb.ScoreResult(error=error(kind=error.BAD_INPUT, message=why))
        image = np.frombuffer(item.image_rgb, np.uint8).reshape(item.height, item.width, 3)
        try:
            reward, details = scorer.score(image, item.prompt, item.metadata)
        except Exception as failure:  # one image's failure must not lose the others' rewards
            return pb.ScoreResult(error=error(kind=error.BROKEN, message=f"{scorer.name}: {failure!r}"[:1000]))
        return pb.ScoreResult(reward=reward, details=details)

    def CheckPrompts(self, request, context):
        scorer = self.find(request.scorer, context)
        checked = ((i, scorer.check(prompt.text, prompt.metadata)) for i, prompt in enumerate(request.prompts))
        return pb.CheckPromptsResponse(faults=[pb.PromptFault(index=i, message=why) for i, why in checked if why])

    def ListScorers(self, request, context):
        infos = [pb.ScorerInfo(name=s.name, kind="python", version=s.version) for s in self.scorers.values()]
        return pb.ListScorersResponse(scorers=infos)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT; port 0: any free one")
    parser.add_argument("--endpoint-file", help="file that gets the address when the server serves")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    limits = [("grpc.max_receive_message_length", 64 << 20)]  # network.max_message_mib
    server = grpc.server(futures.ThreadPoolExecutor(options.threads), options=limits, maximum_concurrent_rpcs=256)
    pb_grpc.add_RewardServiceServicer_to_server(Server(Warmth()), server)
    is_healthy = health.HealthServicer()
    is_healthy.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(is_healthy, server)
    host = options.listen.rpartition(":")[0]
    endpoint = f"{host}:{server.add_insecure_port(options.listen)}"
    server.start()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f"serving on {endpoint}", flush=True)
    if options.endpoint_file:
        pathlib.Path(options.endpoint_file + ".new").write_text(endpoint + "\n")
        os.replace(options.endpoint_file + ".new", options.endpoint_file)
    stop.wait()
    server.stop(grace=10).wait()


if __name__ == "__main__":
    main()
