"""A real cluster on loopback: three primaries, each with one replica that takes over when it is gone."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
from redis.crc import key_slot

from app.ports import free_port
from storage.valkey import SERVER_OPTIONS, server_binary

PRIMARIES: Final = 3
SLOTS: Final = 16_384
NODE_TIMEOUT_MS: Final = 2_000
"""After so long without an answer the others take a node for dead."""
FORM_SECONDS_MAX: Final = 90.0
POLL_SECONDS: Final = 0.05
BUS_OFFSET: Final = 10_000


class Node:
    """One server of the cluster."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self.port: Final = _port_with_bus()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None

    def start(self) -> None:
        """Start it on what its directory holds."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "logfile": "valkey.log",
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-config-file": "nodes.conf",
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": 0,
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [str(server_binary()), *arguments, *SERVER_OPTIONS],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def client(self) -> redis.Redis:
        """A client of this server alone."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it answer nobody, with its connections open, as behind a broken link."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)


class ValkeyCluster:
    """Six servers in one directory; a context manager."""

    def __init__(self, directory: Path) -> None:
        self.nodes: Final = [Node(directory / f"node-{number}") for number in range(2 * PRIMARIES)]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._form()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The first server's."""
        return f"redis://{self.nodes[0].address}/0"

    @property
    def others(self) -> str:
        """The further servers, as the settings name them."""
        return ",".join(node.address for node in self.nodes[1:])

    def stop(self) -> None:
        """End every server."""
        for node in self.nodes:
            node.kill()

    def empty(self) -> None:
        """Start who was killed, and forget every key."""
        for node in self.nodes:
            if not node.running:
                node.start()
        self.await_replicas()
        for node in self.nodes:
            with node.client() as client:
                if client.info("replication")["role"] == "master":
                    client.flushall()

    def primary_of(self, key: str) -> Node:
        """Which server has the key now, by the first that answers and knows of no failure."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            try:
                with node.client() as client:
                    for first, last, primary, *_ in client.cluster("SLOTS"):
                        if first <= slot <= last:
                            return next(one for one in self.nodes if one.port == primary[1])
            except redis.RedisError:
                continue
        raise AssertionError("no server of the cluster answers")

    def await_failover(self, key: str, old: Node) -> Node:
        """Which server has taken over the key from the old one."""
        _until(lambda: self.primary_of(key) is not old and self._writable(key))
        return self.primary_of(key)

    def await_replicas(self) -> None:
        """Return once every server that is there follows or leads, all in step."""
        _until(lambda: all(self._in_step(node) for node in self.nodes))

    def _form(self) -> None:
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        _until(lambda: all(_answers(node) for node in self.nodes))
        bounds = [SLOTS * number // PRIMARIES for number in range(PRIMARIES + 1)]
        for node, first, after in zip(primaries, bounds, bounds[1:], strict=False):
            with node.client() as client:
                client.cluster("ADDSLOTSRANGE", first, after - 1)
                for other in self.nodes:
                    client.cluster("MEET", "127.0.0.1", other.port)
        _until(lambda: all(_knows(node, len(self.nodes)) for node in self.nodes))
        for replica, primary in zip(replicas, primaries, strict=True):
            with primary.client() as client, replica.client() as follower:
                follower.cluster("REPLICATE", client.cluster("MYID"))
        self.await_replicas()

    def _in_step(self, node: Node) -> bool:
        try:
            with node.client() as client:
                state, replication = client.cluster("INFO"), client.info("replication")
        except redis.RedisError:
            return False
        whole = state["cluster_state"] == "ok" and state["cluster_size"] == str(PRIMARIES)
        if replication["role"] == "master":
            return whole and int(replication["connected_slaves"]) >= 1
        return whole and bool(replication["master_link_status"] == "up")

    def _writable(self, key: str) -> bool:
        try:
            with self.primary_of(key).client() as client:
                return client.set(key + "?", b"", xx=True) is None
        except redis.RedisError:
            return False


def _answers(node: Node) -> bool:
    try:
        with node.client() as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _knows(node: Node, count: int) -> bool:
    with node.client() as client:
        return bool(client.cluster("INFO")["cluster_known_nodes"] == str(count))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FORM_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "the cluster is not what it should be by now"
        time.sleep(POLL_SECONDS)


def _port_with_bus() -> int:
    """A port whose bus port exists, too."""
    while (port := free_port()) + BUS_OFFSET > 65_535:
        pass
    return port
