"""What the programs of the build say of themselves."""
import functools
import os
import pathlib
import re
import subprocess

from manifests import ROOT

BUILD = pathlib.Path(os.environ.get("FLOWAWR_BUILD_DIR", ROOT / "build/release"))
PROGRAMS = ("flowawr-learner", "flowawr-actor", "flowawr-reward-server", "flowawr")
FLAG = re.compile(r"--[a-z][a-z0-9-]*")


def path(program):
    found = BUILD / "bin" / program
    assert found.exists(), f"{found} is missing: scripts/build {program}"
    return str(found)


@functools.cache
def help_of(*command):
    done = subprocess.run([path(command[0]), *command[1:], "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)} --help: {done.stderr}"
    return done.stdout


@functools.cache
def flags(*command):
    return set(FLAG.findall(help_of(*command)))


@functools.cache
def commands():
    """The words that may follow `flowawr`."""
    return set(re.findall(r"^  ([a-z]+)\b", help_of("flowawr"), flags=re.M))


def mistakes(words):
    """What a program would not know in a command line that begins with its name."""
    program = pathlib.PurePath(words[0]).name
    command, found = [program], []
    if program == "flowawr":
        word = words[1] if len(words) > 1 else ""
        if word not in commands():
            return [f"flowawr has no command {word!r}"]
        command.append(word)
    for word in words[len(command):]:
        if word.startswith("--") and word.partition("=")[0] not in flags(*command):
            found.append(f"{' '.join(command)} has no option {word}")
    return found


def command_lines(value):
    """Every command line of these programs in a piece of YAML, in lists and in texts."""
    if isinstance(value, dict):
        return [line for part in value.values() for line in command_lines(part)]
    if isinstance(value, list):
        if all(isinstance(one, (str, int, float)) for one in value):
            words = [str(one) for one in value]
            for i, word in enumerate(words):
                if pathlib.PurePath(word).name in PROGRAMS:
                    return [words[i:]]
        return [line for part in value for line in command_lines(part)]
    if isinstance(value, str) and "\n" not in value:
        words = value.split()
        for i, word in enumerate(words):
            is_called = len(words) > i + 1 and (words[i + 1].startswith("-") or word == "flowawr")
            if pathlib.PurePath(word).name in PROGRAMS and is_called:
                return [words[i:]]
    return []
