"""Hosts as network namespaces that one switch connects; cut off, slowed down and removed by a test.

No namespace has a way out: the switch is a bridge in a namespace of its own.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SUBNET = "10.203.0"


def run(*words: str) -> None:
    """Run a command of iproute2."""
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"{' '.join(words)}: {told.stderr.strip()}"


class Host:
    """One host: its namespace, its address and its own folder."""

    def __init__(self, name: str, number: int, folder: Path, switch: str) -> None:
        self.name, self.address, self.folder, self._switch = name, f"{SUBNET}.{number}", folder, switch
        self._port = f"p{number}"
        (folder / "home").mkdir(parents=True)
        run("ip", "netns", "add", name)
        run("ip", "-n", switch, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", switch, "link", "set", self._port, "master", "switch", "up")
        run("ip", "-n", name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", name, "link", "set", device, "up")

    def cut(self) -> None:
        """Pull the cable: packets are lost without notice."""
        run("ip", "-n", self._switch, "link", "set", self._port, "nomaster")

    def reconnect(self) -> None:
        """Plug the cable in again."""
        run("ip", "-n", self._switch, "link", "set", self._port, "master", "switch")

    def impair(self, loss_percent: float, delay_ms: float) -> bool:
        """Lose and delay packets in both directions by netem; False where the kernel has none."""
        for namespace, device in ((self.name, "eth0"), (self._switch, self._port)):
            words = ["tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "netem"]
            words += ["delay", f"{delay_ms / 2:g}ms", "loss", f"{loss_percent:g}%"]
            told = subprocess.run(words, capture_output=True, text=True, check=False)
            if "qdisc kind is unknown" in told.stderr:
                return False
            assert told.returncode == 0, told.stderr
        return True

    def lose(self, loss_percent: float) -> None:
        """Lose packets in both directions by the packet filter; skips the test where it cannot."""
        for chain, device in (("INPUT", "-i"), ("OUTPUT", "-o")):
            words = ["ip", "netns", "exec", self.name, "iptables", "-w", "-A", chain, device, "eth0", "-m", "statistic"]
            words += ["--mode", "random", "--probability", f"{loss_percent / 100:g}", "-j", "DROP"]
            told = subprocess.run(words, capture_output=True, text=True, check=False)
            if told.returncode != 0:
                pytest.skip(f"no netem, and no iptables with the match statistic: {told.stderr.strip()}")

    @property
    def lost_packets(self) -> int:
        """Packets that the packet filter has dropped."""
        words = ["ip", "netns", "exec", self.name, "iptables", "-w", "-L", "-v", "-n", "-x"]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return sum(int(line.split()[0]) for line in told.splitlines() if " DROP " in line)


@contextmanager
def network(folder: Path) -> Iterator[Callable[[str], Host]]:
    """Makes hosts by name; at the end their processes and namespaces are removed. Skips where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("hosts need root and iproute2: they are network namespaces")
    prefix = f"ts{os.getpid()}"
    switch = f"{prefix}switch"
    told = subprocess.run(["ip", "netns", "add", switch], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        pytest.skip(f"this system allows no network namespace: {told.stderr.strip()}")
    made: list[Host] = []

    def make(name: str) -> Host:
        made.append(Host(f"{prefix}{name}", len(made) + 1, folder / name, switch))
        return made[-1]

    try:
        run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "switch", "up")
        yield make
    finally:
        for name in (*(each.name for each in made), switch):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
