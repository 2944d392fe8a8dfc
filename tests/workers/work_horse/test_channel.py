"""A worker hears its horse without ever waiting for it, in bounds."""

import socket
from collections.abc import Iterator

import pytest

from workers.work_horse.channel import ANSWER, HEADER, MAX_BYTES, TOLD, Line, Message, hear, say


@pytest.fixture
def ends() -> Iterator[tuple[Line, socket.socket]]:
    ours, theirs = socket.socketpair()
    line = Line(ours)
    yield line, theirs
    line.close()
    theirs.close()


def test_half_a_message_is_kept_until_the_rest_comes(ends) -> None:
    line, theirs = ends
    whole = HEADER.pack(ANSWER, 7, 4) + b"body"
    heard = []
    for place in range(len(whole)):
        theirs.sendall(whole[place : place + 1])
        line.read()
        heard.append(list(line.messages()))

    assert heard == [[]] * (len(whole) - 1) + [[Message(ANSWER, 7, b"body")]]
    assert not line.is_over


def test_nothing_to_hear_is_no_end(ends) -> None:
    line, _ = ends
    line.read()

    assert (list(line.messages()), line.is_over) == ([], False)


def test_the_other_side_s_end_is_the_line_s_once_all_is_heard(ends) -> None:
    line, theirs = ends
    say(theirs, TOLD, b"a")
    say(theirs, ANSWER, b"b")
    theirs.close()
    line.read()
    heard = list(line.messages())
    line.read()

    assert [message.body for message in heard] == [b"a", b"b"]
    assert line.is_over


def test_a_message_that_is_too_long_ends_the_line_before_it_is_read(ends) -> None:
    line, theirs = ends
    theirs.sendall(HEADER.pack(ANSWER, 0, MAX_BYTES + 1))
    line.read()

    assert (list(line.messages()), line.is_over) == ([], True)


def test_a_horse_hears_an_order_and_the_end_of_its_worker(ends) -> None:
    line, theirs = ends
    line.send(Message(ANSWER, 9, b"batch"))
    first = hear(theirs)
    line.close()

    assert (first, hear(theirs)) == (Message(ANSWER, 9, b"batch"), None)
