"""Channel: a worker reads from its work horse without blocking and with limits."""

import socket
from collections.abc import Iterator

import pytest

from workers.work_horse.channel import HEADER, LOG, MAX_BYTES, RESULT, Channel, Message, receive, send


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def test_a_partial_message_is_kept_until_it_is_complete(ends) -> None:
    channel, theirs = ends
    whole = HEADER.pack(RESULT, 7, 4) + b"body"
    read = []
    for place in range(len(whole)):
        theirs.sendall(whole[place : place + 1])
        channel.read()
        read.append(list(channel.messages()))

    assert read == [[]] * (len(whole) - 1) + [[Message(RESULT, 7, b"body")]]
    assert not channel.is_closed


def test_an_empty_channel_is_not_closed(ends) -> None:
    channel, _ = ends
    channel.read()

    assert (list(channel.messages()), channel.is_closed) == ([], False)


def test_a_channel_is_closed_after_the_last_message_is_read(ends) -> None:
    channel, theirs = ends
    send(theirs, LOG, b"a")
    send(theirs, RESULT, b"b")
    theirs.close()
    channel.read()
    read = list(channel.messages())
    channel.read()

    assert [message.body for message in read] == [b"a", b"b"]
    assert channel.is_closed


def test_a_too_long_message_closes_the_channel(ends) -> None:
    channel, theirs = ends
    theirs.sendall(HEADER.pack(RESULT, 0, MAX_BYTES + 1))
    channel.read()

    assert (list(channel.messages()), channel.is_closed) == ([], True)


def test_a_work_horse_receives_batches_until_its_worker_ends(ends) -> None:
    channel, theirs = ends
    channel.send(Message(RESULT, 9, b"batch"))
    first = receive(theirs)
    channel.close()

    assert (first, receive(theirs)) == (Message(RESULT, 9, b"batch"), None)
