"""A container engine of this machine, and the images that the tests need."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = "debian:12-slim"


def run(*command, check=True, quiet=False, **options) -> subprocess.CompletedProcess:
    """Runs to the end, with its output as text; an error shows that output."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def docker(*arguments, **options) -> str:
    return run("docker", *arguments, **options).stdout.strip()


class Engine:
    """The engine that runs, or one that is started here and ended with this object's `with`."""

    def __enter__(self):
        self._pid = None
        if run("docker", "info", check=False).returncode == 0:
            return self
        log = open(pathlib.Path(tempfile.gettempdir()) / "flowawr-dockerd.log", "w")
        daemon = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
        self._pid = daemon.pid
        limit = time.monotonic() + 60
        while run("docker", "info", check=False).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"dockerd does not start: {log.name}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        if self._pid is not None:
            os.kill(self._pid, signal.SIGTERM)


def has_image(name: str) -> bool:
    return run("docker", "image", "inspect", name, check=False).returncode == 0


def ensure_base() -> None:
    """debian:12-slim: pulled, or where nothing can be pulled, the same made by mmdebstrap from Debian's archive."""
    if has_image(BASE) or run("docker", "pull", "-q", BASE, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        keep_out = [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("man", "locale", "doc")]
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *keep_out,
            "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/* \"$1\"/var/log/*",
            "bookworm", here / "rootfs.tar")
        # What this machine needs to reach package archives: authorities and settings of pip.
        for file in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf",
                     os.path.expanduser("~/.config/pip/pip.conf")):
            if os.path.exists(file):
                to = here / "add" / file.lstrip("/")
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(os.path.realpath(file), to)
        (here / "add").mkdir(exist_ok=True)
        (here / "Dockerfile").write_text('FROM scratch\nADD rootfs.tar /\nCOPY add/ /\nCMD ["bash"]\n')
        build(here, BASE)


def build(context: pathlib.Path, tag: str, *arguments) -> None:
    run("docker", "build", "-q", "-t", tag, *arguments, context, env={**os.environ, "DOCKER_BUILDKIT": "1"})


def build_of_package(package: pathlib.Path, tag: str) -> None:
    """The image of docker/Dockerfile with a package that is there already (cpack) instead of one that it builds:
    minutes instead of an hour, and without the list for scanners."""
    given = {"build": f"FROM scratch AS build\nCOPY {package.name} /packages/\n",
             "sbom": "FROM ${DEBIAN} AS sbom\nRUN echo '{\"packages\": []}' >/sbom.spdx.json\n"}
    stages = re.split(r"^(?=FROM )", (ROOT / "docker/Dockerfile").read_text(), flags=re.M)
    names = [re.match(r"FROM \S+ AS (\w+)", stage) for stage in stages]
    assert set(given) <= {name[1] for name in names if name}
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        shutil.copyfile(package, here / package.name)
        (here / "Dockerfile").write_text("".join(given.get(name[1], stage) if name else stage
                                                 for name, stage in zip(names, stages)))
        build(here, tag)


def ensure_monitoring(program: str, image: str) -> str:
    """The name of an image of `program`: `image` if it can be had, else one of Debian's package."""
    if has_image(image) or run("docker", "pull", "-q", image, check=False).returncode == 0:
        return image
    name = f"flowawr-test/{program}"
    if not has_image(name):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "Dockerfile").write_text(
                f"FROM {BASE}\n"
                f"RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends {program} >/dev/null && "
                "install -d -o 65534 -g 65534 /prometheus /alertmanager\n"
                f'USER 65534\nENTRYPOINT ["/usr/bin/{program}"]\n')
            build(pathlib.Path(folder), name)
    return name
