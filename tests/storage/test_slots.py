import asyncio
from collections.abc import Iterator

import pytest
import redis

from events.devices import Device
from events.readiness import CheckName
from keys.enrolment import enrolled
from storage.addresses import node_address
from storage.backlog import read_waiting
from storage.confirm import Unconfirmed, confirmed
from storage.control import ControlLog
from storage.errors import StreamDown
from storage.health import stream_checks
from storage.partitions import Partition, partition_of, partitions_of, shared_key
from storage.publish import Published, Publisher
from storage.slots import ClusterNodes
from storage.stream import FrozenRange, ScanStream
from tests.support.valkey_cluster import ValkeyCluster

PARTITIONS = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def nodes(cluster: ValkeyCluster) -> ClusterNodes:
    cluster.empty()
    return nodes_of(cluster)


def nodes_of(cluster: ValkeyCluster) -> ClusterNodes:
    """The cluster as one knows it who has asked nobody yet."""
    return ClusterNodes(cluster.url, map(node_address, cluster.others.split(",")))


def publish(nodes: ClusterNodes, batches: list[tuple[int, bytes, int]]) -> list[Published | BaseException]:
    """What the stream says to batches of (device, entry, seq), sent at once."""

    async def run() -> list[Published | BaseException]:
        clients = [nodes.async_client(partition.scans, socket_timeout=5) for partition in partitions_of(PARTITIONS)]
        publisher = Publisher(clients, bytes_max=1_000_000, replicas=1)
        calls = [
            publisher.publish(entry, device=device, runs=[(seq, seq)], replay_key=entry.ljust(16)[:16])
            for device, entry, seq in batches
        ]
        try:
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            for client in clients:
                await client.aclose()

    return asyncio.run(run())


def held(nodes: ClusterNodes, device: int) -> list[bytes]:
    partition = Partition(partition_of(device, PARTITIONS), PARTITIONS)
    with nodes.client(partition.scans) as client:
        return [fields[b"e"] for _, fields in client.xrange(partition.scans) or []]


def test_every_device_has_its_partition_and_every_server_some(cluster: ValkeyCluster, nodes: ClusterNodes) -> None:
    answers = publish(nodes, [(device, b"of %d" % device, 1) for device in range(PARTITIONS)])
    assert [type(answer) for answer in answers] == [Published] * PARTITIONS
    for device in range(PARTITIONS):
        assert held(nodes, device) == [b"of %d" % device]
    assert len({cluster.primary_of(partition.scans).port for partition in partitions_of(PARTITIONS)}) == 3


def test_what_belongs_together_lies_together() -> None:
    # Scripts and blocking reads name several keys at once, which one server must have.
    partition = Partition(3, PARTITIONS)
    names = [partition.scans, partition.seen, partition.sink, partition.sink_owner, partition.nudge, partition.promise]
    names.append(partition.probe)
    assert {name[: len("truyvet:{3}:")] for name in names} == {"truyvet:{3}:"}
    assert shared_key("a").startswith("truyvet:{shared}:")


def test_a_replica_takes_over_with_all_that_was_acknowledged(cluster: ValkeyCluster, nodes: ClusterNodes) -> None:
    partition = Partition(1, PARTITIONS)
    with nodes.client(partition.scans, socket_timeout=5) as client:
        sink = ScanStream(client, owner="me", partition=partition, replicas=1)
        assert sink.claim(60)
        [first] = publish(nodes, [(9, b"before", 1)])
        assert isinstance(first, Published)
        frozen = FrozenRange(first.entry, first.entry, 0, 7, partition.number)
        sink.freeze(frozen)

        old = cluster.primary_of(partition.scans)
        old.kill()
        cluster.await_failover(partition.scans, old)
        # The new server has what the old one had acknowledged: the batch, the account of it, the sink's promise.
        assert (held(nodes, 9), sink.state().frozen) == ([b"before"], frozen)
        # The dead server was this one's only replica, so nothing can be promised until it is back.
        assert [type(answer) for answer in publish(nodes, [(9, b"alone", 2)])] == [StreamDown]
        old.start()
        cluster.await_replicas()
        answers = publish(nodes, [(9, b"before", 1), (9, b"alone", 2), (9, b"after", 3)])
    assert [answer.replayed for answer in answers if isinstance(answer, Published)] == [True, True, False]
    assert held(nodes, 9) == [b"before", b"alone", b"after"]


def test_connections_leave_a_server_that_has_handed_over(cluster: ValkeyCluster, nodes: ClusterNodes) -> None:
    key = Partition(2, PARTITIONS).scans
    with nodes.client(key, socket_timeout=5) as client:
        client.xadd(key, {"e": b""})
        old = cluster.primary_of(key)
        heir = next(node for node in cluster.nodes if _follows(node.client(), old.port))
        with heir.client() as its:
            its.cluster("FAILOVER")
        cluster.await_failover(key, old)
        with pytest.raises(redis.ConnectionError, match="does not have the slot"):
            client.xlen(key)
        assert client.xlen(key) == 1
        assert cluster.primary_of(key) is heir


def test_what_no_replica_has_on_disk_is_not_confirmed(cluster: ValkeyCluster, nodes: ClusterNodes) -> None:
    key = shared_key("number:device")
    primary = cluster.primary_of(key)
    replica = next(node for node in cluster.nodes if _follows(node.client(), primary.port))
    with nodes.client(key, socket_timeout=5) as client:
        replica.freeze()
        try:
            with pytest.raises(Unconfirmed, match="0 of 1"):
                confirmed(client, 1, [("INCR", key)])
        finally:
            replica.thaw()
        cluster.await_replicas()
        # A refusal is a refusal, and later answers are those of later questions.
        with pytest.raises(redis.ResponseError):
            confirmed(client, 1, [("LPUSH", key, "x"), ("INCR", key)])
        control = ControlLog(client, replicas=1)
        assert control.next_number("device") == 3
        events = enrolled(Device(id="door", number=3, place="door"), b"\x58" + bytes(30) + b"\x01", 0)
        assert [recorded.event for recorded in control.append_all(events)] == events


def test_a_server_lost_with_its_replica_takes_only_its_own_partitions_along(
    cluster: ValkeyCluster, nodes: ClusterNodes
) -> None:
    lost = cluster.primary_of(Partition(1, PARTITIONS).scans)
    replica = next(node for node in cluster.nodes if _follows(node.client(), lost.port))
    partitions = partitions_of(PARTITIONS)
    gone = [partition.number for partition in partitions if cluster.primary_of(partition.scans) is lost]

    def clients() -> list[redis.Redis]:
        """Of one who does not know yet which servers are silent."""
        fresh = nodes_of(cluster)
        return [fresh.client(partition.scans, socket_timeout=1, socket_connect_timeout=1) for partition in partitions]

    replica.freeze()
    lost.freeze()
    try:
        answers = publish(nodes, [(device, b"of %d" % device, 1) for device in range(PARTITIONS)])
        refused = [device for device, answer in enumerate(answers) if not isinstance(answer, Published)]
        assert refused == gone
        # Nobody is called unable to work for it, and nobody waits for it.
        checks = stream_checks(clients(), vital=True, replicas=1)
        failing = {check.name: check.vital for check in checks if not check.ok}
        assert failing == {CheckName.STREAM: False}
        for _ in range(5):
            assert len(read_waiting(clients())) == PARTITIONS - len(gone)
    finally:
        lost.thaw()
        replica.thaw()


def test_a_server_without_its_replica_says_that_it_can_acknowledge_nothing(
    cluster: ValkeyCluster, nodes: ClusterNodes
) -> None:
    partition = Partition(1, PARTITIONS)
    primary = cluster.primary_of(partition.scans)
    replica = next(node for node in cluster.nodes if _follows(node.client(), primary.port))
    clients = [nodes.client(one.scans, socket_timeout=5) for one in partitions_of(PARTITIONS)]
    assert all(check.ok for check in stream_checks(clients, vital=True, replicas=1))
    replica.kill()
    [stream, *_] = stream_checks(clients, vital=True, replicas=1)
    assert (stream.ok, stream.vital) == (False, False)
    assert "1 among them: Too few replicas are there" in stream.detail
    for client in clients:
        client.close()


def test_a_node_that_is_away_is_not_asked_twice(cluster: ValkeyCluster) -> None:
    away = ("127.0.0.1", 1)
    nodes = ClusterNodes(cluster.url, [away])
    with nodes.client(shared_key("x"), socket_timeout=5) as client:
        assert client.ping()
    with pytest.raises(redis.ConnectionError, match="none of the cluster's 1 nodes"):
        ClusterNodes("redis://127.0.0.1:1/0", []).primary(0)


@pytest.mark.parametrize(("text", "address"), [("a:1", ("a", 1)), (" b.c:22 ", ("b.c", 22)), ("[::1]:3", ("::1", 3))])
def test_addresses_of_nodes(text: str, address: tuple[str, int]) -> None:
    assert node_address(text) == address


@pytest.mark.parametrize("text", ["a", "a:", ":1", "a:b"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|invalid literal"):
        node_address(text)


def _follows(client: redis.Redis, port: int) -> bool:
    with client:
        found = client.info("replication")
    return found["role"] == "slave" and int(found["master_port"]) == port
