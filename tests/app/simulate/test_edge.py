"""The sending side against a server that is busy, forgetful or gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.simulate.edge import ConnectionGone, EdgeConnection
from app.simulate.plan import Plan
from app.simulate.post import PostFailed, Tally, post
from app.simulate.wallet import Wallet
from app.simulate.world import World, build_world
from events import codec, problems
from events.scans import Receipt, Verdict
from keys.secrets import ServerSecrets
from tests.app.simulate.conftest import NOON

HANG_UP = b""
Respond = Callable[[bytes], bytes]


def http(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Something", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers each request's body as `respond` says; gives its address and its connection count."""
    connections: list[int] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                answer = respond(await reader.readexactly(length))
                if answer == HANG_UP:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


def scripted(*answers: bytes) -> Respond:
    left = list(answers)
    return lambda _: left.pop(0)


def test_one_connection_serves_many_requests() -> None:
    async def play() -> None:
        chunked = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        async with serving(scripted(http(503, b"", "Retry-After: 7"), chunked, http(200))) as (url, connections):
            connection = EdgeConnection(url)
            busy = await connection.post("/v1/scans", {"X-Test": "1"}, b"body")
            assert (busy.status, busy.retry_after_seconds) == (503, 7.0)
            taken = await connection.post("/v1/scans", {}, b"")
            assert (taken.status, taken.body, taken.retry_after_seconds) == (202, b"abc", 0.0)
            assert (await connection.post("/v1/scans", {}, b"")).status == 200
            assert len(connections) == 1
            connection.close()

    asyncio.run(play())


def test_a_broken_connection_is_said_and_opened_again() -> None:
    async def play() -> None:
        async with serving(scripted(HANG_UP, b"no HTTP at all\r\n\r\n", http(202))) as (url, connections):
            connection = EdgeConnection(url)
            for _ in range(2):
                with pytest.raises(ConnectionGone):
                    await connection.post("/v1/scans", {}, b"")
            assert (await connection.post("/v1/scans", {}, b"")).status == 202
            assert len(connections) == 3
            connection.close()

    asyncio.run(play())


class Edge:
    """Accepts every batch as the real edge would, after turning each of the first `busy` requests away."""

    def __init__(self, *busy: bytes) -> None:
        self._busy = list(busy)
        self.expired: frozenset[int] = frozenset()

    def __call__(self, body: bytes) -> bytes:
        if self._busy:
            return self._busy.pop(0)
        seqs = [scan.seq for scan in codec.scan_batch_from_msgpack(body).scans]
        refused = [Verdict(seq, "expired_code", "") for seq in seqs if seq in self.expired]
        receipt = Receipt(
            batch="1-0",
            accepted=len(seqs) - len(refused),
            duplicate=0,
            refused=len(refused),
            next_seq=1,
            seen_to=seqs[-1],
            verdicts=refused,
        )
        return http(202, codec.to_json(receipt))


@pytest.fixture(scope="module")
def few() -> World:
    """Twenty people for a day, nobody of them with an expired code."""
    few = build_world(Plan(people=20, days=1, seed=2, end=NOON))
    assert not any(taken.attempt.stale for scans in few.taken.values() for taken in scans)
    return few


def sent(world: World, secrets: ServerSecrets, edge: Edge) -> Tally:
    async def play() -> Tally:
        async with serving(edge) as (url, _):
            return await post(world, Wallet(world, secrets), url, lambda tally: None)

    return asyncio.run(play())


def test_a_busy_edge_is_asked_again_until_it_has_everything(few: World, secrets: ServerSecrets) -> None:
    unknown = http(401, problems.KEY_UNKNOWN.problem().body())
    edge = Edge(http(503, b"{}", "Retry-After: 0"), http(429), unknown, HANG_UP)
    tally = sent(few, secrets, edge)
    assert tally.waited == 4
    assert tally.parcels == len(few.parcels)
    assert tally.accepted == tally.scans == sum(len(parcel.taken) for parcel in few.parcels)
    assert tally.surprises == []


def test_an_edge_that_refuses_for_good_ends_the_sending(few: World, secrets: ServerSecrets) -> None:
    refusal = http(403, problems.KEY_REVOKED.problem().body())
    with pytest.raises(PostFailed, match="revoked"):
        sent(few, secrets, Edge(*[refusal] * 16))
    with pytest.raises(PostFailed, match="without a reason"):
        sent(few, secrets, Edge(*[http(404, b"<html>")] * 16))


def test_an_edge_that_refuses_good_scans_is_found_out(few: World, secrets: ServerSecrets) -> None:
    edge = Edge()
    edge.expired = frozenset({1})
    assert sent(few, secrets, edge).surprises
