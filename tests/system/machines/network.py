"""Machines that really differ: network namespaces with addresses of their own, joined by a bridge.

A machine sees the others by names that it looks up in its own hosts file, as with /etc/hosts of a real one; what a name
stands for may be changed while processes run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

PREFIX = f"fa{os.getpid() % 100_000}"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


class Machine:
    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name, self.space = name, f"{PREFIX}-{name}"
        self.ipv4, self.ipv6 = f"10.77.0.{number}", f"fd77::{number:x}"
        self._network, self._link = network, f"{PREFIX}p{number}"
        run("ip", "netns", "add", self.space)
        self.run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", self._link, "netns", network.hub, "type", "veth", "peer", "name", "eth0",
            "netns", self.space)
        network.run("ip", "link", "set", self._link, "master", "bridge", "up")
        self.run("ip", "address", "add", f"{self.ipv4}/24", "dev", "eth0")
        self.run("ip", "-6", "address", "add", f"{self.ipv6}/64", "dev", "eth0", "nodad")
        self.run("ip", "link", "set", "eth0", "up")
        folder = Path("/etc/netns") / self.space
        folder.mkdir(parents=True)
        (folder / "hosts").write_text("")
        # Whoever asks a name server is answered at once that there is none.
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def command(self, *command: str) -> list[str]:
        """The command as it runs on that machine."""
        return ["ip", "netns", "exec", self.space, *command]

    def run(self, *command: str) -> str:
        return run(*self.command(*command))

    def lose(self, share: float) -> None:
        """That share of the packets that come in."""
        self.run("iptables", "-A", "INPUT", "-i", "eth0", "-m", "statistic", "--mode", "random", "--probability",
                 str(share), "-j", "DROP")  # fmt: skip

    @contextlib.contextmanager
    def cut_off(self):
        """The cable is out, at the other end: nothing tells this machine."""
        self._network.run("ip", "link", "set", self._link, "nomaster")
        try:
            yield
        finally:
            self._network.run("ip", "link", "set", self._link, "master", "bridge")


class Network:
    def __init__(self) -> None:
        self.hub = f"{PREFIX}-hub"
        self.machines: dict[str, Machine] = {}
        self._names: dict[str, str] = {}
        run("ip", "netns", "add", self.hub)
        self.run("ip", "link", "add", "bridge", "type", "bridge")
        self.run("ip", "link", "set", "bridge", "up")

    def run(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.hub, *command)

    def add(self, name: str) -> Machine:
        machine = Machine(self, name, len(self.machines) + 2)
        self.machines[name] = machine
        self.set_name(name, machine)
        return machine

    def set_name(self, name: str, machine: Machine) -> None:
        """What `name` stands for, on every machine and at once for new look-ups."""
        self._names[name] = machine.ipv4
        text = "127.0.0.1 localhost\n::1 localhost\n" + "".join(f"{ip} {host}\n" for host, ip in self._names.items())
        for each in self.machines.values():
            # In place: running processes see this very file.
            (Path("/etc/netns") / each.space / "hosts").write_text(text)

    def close(self) -> None:
        for space in [machine.space for machine in self.machines.values()] + [self.hub]:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / space, ignore_errors=True)
