"""The client against a server that says what it is told to: patience, refusals, broken answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from app.ports import free_port
from events import problems
from events.problems import Problem
from truyvet.client import Client
from truyvet.errors import Busy, Forbidden, Invalid, NotFound, Refused, TruyvetError, Unreachable, WrongAnswer
from truyvet.transport import Transport

PURPOSE = "Điều tra ca F0"


class Answer(msgspec.Struct, frozen=True):
    """What the server sends; `promised` bytes are announced, None: as many as there are."""

    status: int
    body: bytes
    promised: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """What the server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted(ThreadingHTTPServer):
    """Gives its answers one after the other, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Scripted

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers), body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = handle_one  # noqa: N815  # the library's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def refused(problem: Problem) -> Answer:
    return Answer(problem.status, problem.body())


def client(server: Scripted, waited: list[float], wait_seconds_max: float = 60.0) -> Client:
    return Client(server.url, "tvt_x", wait_seconds_max=wait_seconds_max, sleep=waited.append)


def test_a_busy_service_is_asked_again_after_as_long_as_it_says(server: Scripted) -> None:
    waited: list[float] = []
    server.answers = [refused(problems.BEHIND.problem()), refused(problems.STORE_DOWN.problem()), Answer(200, b"{}")]
    assert client(server, waited).answer("x", purpose=PURPOSE) == b"{}"
    assert waited == [problems.BEHIND.retry_after_seconds, problems.STORE_DOWN.retry_after_seconds]
    assert len(server.asked) == 3


def test_patience_ends(server: Scripted) -> None:
    waited: list[float] = []
    server.answers = [refused(problems.BEHIND.problem())]
    with pytest.raises(Busy) as busy:
        client(server, waited, wait_seconds_max=12.0).answer("x", purpose=PURPOSE)
    assert waited == [5, 5]
    assert busy.value.problem == problems.BEHIND.problem()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (problems.TOKEN_INVALID, Forbidden),
        (problems.ROLE_FORBIDDEN, Forbidden),
        (problems.NOT_FOUND, NotFound),
        (problems.PURPOSE_MISSING, Invalid),
        (problems.QUESTION_INVALID, Invalid),
        (problems.INTERNAL, Refused),
    ],
)
def test_a_refusal_is_an_exception_with_its_problem(
    server: Scripted, kind: problems.Kind, error: type[Refused]
) -> None:
    server.answers = [refused(kind.problem("This.", pointer="/index"))]
    with pytest.raises(error) as caught:
        client(server, []).trace(cases=["f0"], purpose=PURPOSE)
    assert caught.value.problem.name == kind.name
    assert str(caught.value) == f"{kind.title}. This. at /index. {kind.action.rstrip('.')}."


def test_the_request_carries_token_purpose_and_only_what_was_given(server: Scripted) -> None:
    server.answers = [
        Answer(200, b'{"id":"1","asked_at":1,"fingerprint":"f","cut_off":{"as_of":1,"read_to":1},"new":1,'
               b'"index_without_scans":[],"contacts":[{"subject":"a","depth":1,"seconds":1.5,"first":1,"last":2,'
               b'"via":[{"subject":"b","first":1}],"more":{}}]}'),
        Answer(200, b'{"items":[],"next":null}'),
    ]  # fmt: skip
    one = client(server, [])
    trace = one.trace(cases=["f0"], purpose=PURPOSE, depth=2)
    assert (trace.contacts[0].seconds, trace.contacts[0].via[0].subject) == (1.5, "b")
    assert one.stays("a/b?c", 1, 2, purpose=PURPOSE) == []
    asked, stays = server.asked
    assert msgspec.json.decode(asked.body) == {
        "index": {"cases": ["f0"], "subjects": []},
        "purpose": PURPOSE,
        "depth": 2,
    }
    assert asked.headers["Authorization"] == "Bearer tvt_x"
    assert stays.path == "/v1/subjects/a%2Fb%3Fc/stays?from=1&to=2&limit=500"
    assert stays.headers["Truyvet-Purpose"].startswith("%C4%90i%E1%BB%81u%20tra")


def test_pages_are_followed_to_the_last(server: Scripted) -> None:
    case = b'{"id":"%d","confirmed_at":3,"infectious_from":1,"infectious_to":2}'
    server.answers = [
        Answer(200, b'{"items":[' + case % 1 + b'],"next":"c 1"}'),
        Answer(200, b'{"items":[' + case % 2 + b'],"next":null}'),
    ]
    assert [one.id for one in client(server, []).cases()] == ["1", "2"]
    assert server.asked[1].path == "/v1/cases?limit=500&cursor=c+1"


def test_nobody_there_and_somebody_else_there(server: Scripted) -> None:
    with pytest.raises(Unreachable):
        Client(f"http://127.0.0.1:{free_port()}", "t").answer("x", purpose=PURPOSE)
    for status, body in ((500, b"<html>"), (404, b"\xff")):
        server.answers = [Answer(status, body)]
        with pytest.raises(WrongAnswer):
            client(server, []).answer("x", purpose=PURPOSE)
    server.answers = [Answer(200, b'{"items":5}')]
    with pytest.raises(WrongAnswer):
        list(client(server, []).cases())


def test_an_answer_that_breaks_off_is_never_taken_for_whole(server: Scripted) -> None:
    server.answers = [Answer(200, b"half", promised=100)]
    with pytest.raises(Unreachable):
        client(server, []).answer("x", purpose=PURPOSE)
    with pytest.raises(Unreachable):
        list(Transport(server.url, "t").pieces("GET", "/x"))


def test_the_token_is_nowhere_in_an_error(server: Scripted) -> None:
    server.answers = [refused(problems.TOKEN_INVALID.problem())]
    with pytest.raises(Forbidden) as caught:
        client(server, []).answer("x", purpose=PURPOSE)
    assert "tvt_x" not in repr(caught.value) + str(caught.value)


def test_an_answer_beyond_the_limit_is_not_taken_for_whole(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("truyvet.transport.ANSWER_BYTES_MAX", 4)
    server.answers = [Answer(200, b"1234")]
    assert Transport(server.url, "t").exchange("GET", "/") == b"1234"
    server.answers = [Answer(200, b"12345")]
    with pytest.raises(WrongAnswer):
        Transport(server.url, "t").exchange("GET", "/")


def test_a_token_is_never_quoted(server: Scripted) -> None:
    server.answers = [Answer(200, b"{}")]
    Transport(server.url, "tvt_secret\n").exchange("GET", "/")
    assert server.asked[0].headers["Authorization"] == "Bearer tvt_secret"
    for token in ("tvt_secret\nx", "tvt_bí_mật"):
        with pytest.raises(TruyvetError) as raised:
            Transport(server.url, token)
        assert "tvt" not in str(raised.value)
