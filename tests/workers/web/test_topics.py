"""Topics: all streams get the same bytes, and slow streams get only the latest state."""

import asyncio

import pytest

from workers.web.topics import WATCHED_SECONDS, TopicStore


async def test_all_streams_receive_the_same_bytes() -> None:
    topics = TopicStore()
    waiting = [asyncio.create_task(topics.changes(0)) for _ in range(3)]
    await asyncio.sleep(0)
    topics.put("queue", {"queued": 1})

    frames = [(await each)[0][0] for each in waiting]

    assert frames[0] == b'event: queue\ndata: {"queued":1}\n\n'
    assert frames[0] is frames[1] is frames[2]


async def test_a_late_or_slow_reader_gets_the_latest_of_each_topic() -> None:
    topics = TopicStore()
    topics.put("run", 1)
    _, seen = await topics.changes(0)
    for number in range(100):
        topics.put("queue", number)

    frames, seen = await topics.changes(seen)

    assert frames == [b"event: queue\ndata: 99\n\n"]
    assert len((await topics.changes(0))[0]) == 2


async def test_an_unchanged_topic_is_not_sent_again() -> None:
    topics = TopicStore()
    topics.put("queue", {"queued": 1})
    _, seen = await topics.changes(0)
    topics.put("queue", {"queued": 1})

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(topics.changes(seen), 0.05)


async def test_nan_is_not_serialized() -> None:
    with pytest.raises(ValueError, match="JSON"):
        TopicStore().put("queue", {"value": float("nan")})


async def test_the_poller_resumes_with_the_first_listener() -> None:
    topics = TopicStore()
    pause = asyncio.create_task(topics.pause(0.01, 3600.0))
    await asyncio.sleep(0.01)
    assert not pause.done()

    with topics.listening():
        await asyncio.wait_for(pause, 60.0)
        await asyncio.wait_for(topics.pause(0.01, 3600.0), 60.0)

    assert topics.listeners == 0


async def test_the_poller_resumes_with_the_first_request() -> None:
    topics = TopicStore()
    pause = asyncio.create_task(topics.pause(0.01, 3600.0))
    await asyncio.sleep(0.01)
    assert not pause.done()

    topics.note_request()
    await asyncio.wait_for(pause, 60.0)
    await asyncio.wait_for(topics.pause(0.01, 3600.0), 60.0)


async def test_further_requests_do_not_wake_the_poller_early(monkeypatch: pytest.MonkeyPatch) -> None:
    topics, loop = TopicStore(), asyncio.get_running_loop()
    topics.note_request()
    pause = asyncio.create_task(topics.pause(3600.0, 0.0))
    await asyncio.sleep(0)
    topics.note_request()
    await asyncio.sleep(0.01)
    assert not pause.done()
    pause.cancel()

    later = loop.time() + WATCHED_SECONDS
    monkeypatch.setattr(loop, "time", lambda: later)
    await topics.pause(3600.0, 0.0)
