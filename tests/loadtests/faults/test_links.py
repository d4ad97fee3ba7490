"""Each way in which a link breaks, seen from both of its ends."""

import socket
from collections.abc import Iterator

import pytest

from loadtests.faults.links import Link, LoopThread
from loadtests.faults.schedule import Way

SECONDS_MAX = 10.0
QUIET_SECONDS = 0.2
"""How long nothing may arrive before it counts as nothing: a link that did carry would have within a millisecond."""


class Ends:
    """A listening server, a link to it, and a connection through it."""

    def __init__(self, loop: LoopThread) -> None:
        self.loop = loop
        self.link = Link()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(SECONDS_MAX)
        loop.run(self.link.open(self.server.getsockname()[1]))
        self.sender, self.receiver = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        sender = socket.create_connection(("127.0.0.1", self.link.port), SECONDS_MAX)
        receiver, _ = self.server.accept()
        receiver.settimeout(SECONDS_MAX)
        return sender, receiver

    def break_(self, way: Way) -> None:
        self.loop.run(self.link.break_(way))

    def heal(self) -> None:
        self.loop.run(self.link.heal())

    def close(self) -> None:
        self.loop.run(self.link.close())
        for one in (self.sender, self.receiver, self.server):
            one.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with LoopThread() as loop:
        ends = Ends(loop)
        yield ends
        ends.close()


def is_over(end: socket.socket) -> bool:
    """Whether the other side has ended or reset the connection."""
    try:
        return end.recv(64) == b""
    except ConnectionResetError:
        return True


def is_quiet(end: socket.socket) -> bool:
    end.settimeout(QUIET_SECONDS)
    try:
        end.recv(64)
    except TimeoutError:
        return True
    finally:
        end.settimeout(SECONDS_MAX)
    return False


def talk(sender: socket.socket, receiver: socket.socket) -> None:
    sender.sendall(b"question")
    assert receiver.recv(64) == b"question"
    receiver.sendall(b"answer")
    assert sender.recv(64) == b"answer"


def test_a_whole_link_carries_both_ways_and_ends_where_an_end_does(ends: Ends) -> None:
    talk(ends.sender, ends.receiver)
    ends.sender.close()
    assert is_over(ends.receiver)


def test_cut_ends_both_sides_and_lets_nobody_in_until_it_heals(ends: Ends) -> None:
    talk(ends.sender, ends.receiver)
    ends.break_("cut")
    assert is_over(ends.sender)
    assert is_over(ends.receiver)
    refused = socket.create_connection(("127.0.0.1", ends.link.port), SECONDS_MAX)
    assert is_over(refused)
    refused.close()
    ends.heal()
    sender, receiver = ends.connect()
    talk(sender, receiver)
    sender.close()
    receiver.close()


def test_stall_keeps_what_is_sent_until_it_heals(ends: Ends) -> None:
    talk(ends.sender, ends.receiver)
    ends.break_("stall")
    ends.sender.sendall(b"question")
    assert is_quiet(ends.receiver)
    ends.heal()
    assert ends.receiver.recv(64) == b"question"
    ends.receiver.sendall(b"answer")
    assert ends.sender.recv(64) == b"answer"


def test_deaf_delivers_the_question_and_resets_instead_of_answering(ends: Ends) -> None:
    talk(ends.sender, ends.receiver)
    ends.break_("deaf")
    ends.sender.sendall(b"question")
    assert ends.receiver.recv(64) == b"question"
    ends.receiver.sendall(b"answer")
    assert is_over(ends.sender)


def test_late_delivers_to_the_server_when_the_sender_has_long_given_up(ends: Ends) -> None:
    sender, receiver = ends.sender, ends.receiver
    talk(sender, receiver)
    ends.break_("late")
    assert is_over(sender)
    again = socket.create_connection(("127.0.0.1", ends.link.port), SECONDS_MAX)
    again.sendall(b"question")
    late, _ = ends.server.accept()
    late.settimeout(SECONDS_MAX)
    assert is_over(again)
    assert is_quiet(late)
    ends.heal()
    assert late.recv(64) == b"question"
    assert late.recv(64) == b""
    again.close()
    late.close()


def test_half_tells_the_server_that_nothing_more_comes_and_carries_its_answer(ends: Ends) -> None:
    talk(ends.sender, ends.receiver)
    ends.break_("half")
    assert ends.receiver.recv(64) == b""
    ends.receiver.sendall(b"last words")
    assert ends.sender.recv(64) == b"last words"
    sender, receiver = ends.connect()
    talk(sender, receiver)
    sender.close()
    receiver.close()
