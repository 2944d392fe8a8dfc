import gzip
import json

import aiohttp
import pytest

from fetcher.simulator.rate_limit import OANDA_LIMIT, Limit
from fetcher.simulator.request_log import RecordedRequest, RequestLog
from fetcher.simulator.server import Exchange, serve
from tests.factories.exchanges import exchange_of
from tradeschool.errors import SettingsError

HOURS = "/v3/instruments/EUR_USD/candles"
TOKEN = {"Authorization": "Bearer made-up"}


class TestServe:
    async def test_a_free_port_is_bound_and_released(self, generated):
        async with serve(Exchange(generated)) as served:
            port = int(served.url.rpartition(":")[2])
        async with serve(Exchange(generated), port=port) as again:
            assert again.url == f"http://127.0.0.1:{port}"

    async def test_a_port_in_use_is_reported(self, generated):
        async with serve(Exchange(generated)) as served:
            port = int(served.url.rpartition(":")[2])
            with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
                async with serve(Exchange(generated), port=port):
                    pass

    async def test_both_protocols_share_the_port_but_not_the_limit(self, serving, clock):
        one = Limit(rate_per_second=1, burst=1)
        async with serving(coinbase_limit=one, oanda_limit=one, monotonic=clock) as client:
            statuses = [(await client.get(path)).status for path in ("/time", HOURS, "/time", HOURS)]

        assert statuses == [200, 200, 429, 429]

    async def test_oanda_accepts_two_new_connections_a_second(self, generated, clock):
        """Requests over known connections are not limited."""
        async with serve(exchange_of(generated, oanda_limit=OANDA_LIMIT, monotonic=clock)) as served:
            async with aiohttp.ClientSession(served.url, headers=TOKEN) as kept:
                known = [(await kept.get(HOURS)).status for _ in range(5)]
            statuses = []
            for _ in range(3):
                async with aiohttp.ClientSession(served.url, headers=TOKEN) as client:
                    statuses.append((await client.get(HOURS)).status)

        assert known == [200] * 5
        assert statuses == [200, 429, 429]


class TestCompression:
    @pytest.mark.parametrize("count", [500, 5000], ids=["inline", "in a thread"])
    async def test_a_body_is_compressed_on_request(self, client, count):
        query = {"granularity": "M5", "price": "MBA", "count": count}
        packed = await client.get(HOURS, {"Accept-Encoding": "gzip"}, **query)
        plain = await client.get(HOURS, {"Accept-Encoding": "identity"}, **query)

        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert packed.body == plain.body

    async def test_the_record_counts_bytes_on_the_wire(self, client):
        packed = await client.get(HOURS, {"Accept-Encoding": "gzip"}, granularity="M5", price="MBA")
        (seen,) = client.served.requests

        assert seen.bytes == int(packed.headers["Content-Length"]) < len(packed.body) / 4
        assert seen.bytes == len(gzip.compress(packed.body, compresslevel=1, mtime=0))


class TestRecord:
    async def test_a_request_is_recorded_unchanged(self, serving, clock):
        async with serving(monotonic=lambda: 12.5) as client:
            await client.get("/products/NOPE-USD/candles", granularity=300)

            assert client.served.requests == (
                RecordedRequest(
                    arrived_seconds=12.5,
                    protocol="coinbase",
                    path="/products/NOPE-USD/candles",
                    query="granularity=300",
                    status=404,
                    bytes=22,
                    fault="none",
                ),
            )

    async def test_only_the_last_requests_are_kept(self, serving):
        async with serving(logged_requests=3) as client:
            for n in range(5):
                await client.get("/time", n=n)

            assert [request.query for request in client.served.requests] == ["n=2", "n=3", "n=4"]

    async def test_refused_requests_are_recorded_as_well(self, serving, clock):
        async with serving(coinbase_limit=Limit(rate_per_second=1, burst=1), monotonic=clock) as client:
            for _ in range(3):
                await client.get("/time")

            assert [request.status for request in client.served.requests] == [200, 429, 429]

    async def test_the_log_has_one_line_per_request(self, generated, tmp_path, serving):
        log = tmp_path / "requests.jsonl"
        record = RequestLog(10)
        seen = RecordedRequest(
            arrived_seconds=1.5, protocol="oanda", path="/", query="", status=200, bytes=2, fault="none"
        )
        with record.appended_to(log):
            record.add(seen)
            during = log.read_text()
        record.add(seen)
        with record.appended_to(log):
            record.add(seen)

        assert json.loads(during)["arrived_seconds"] == 1.5
        assert log.read_text() == during * 2

    async def test_served_requests_are_logged(self, generated, tmp_path, clock):
        log = tmp_path / "requests.jsonl"
        async with (
            serve(exchange_of(generated, now=clock), log_path=log) as served,
            aiohttp.ClientSession(served.url) as session,
            session.get("/time") as response,
        ):
            await response.read()
        (line,) = map(json.loads, log.read_text().splitlines())

        assert (line["protocol"], line["path"], line["status"]) == ("coinbase", "/time", 200)

    async def test_an_unwritable_log_is_reported(self, generated, tmp_path):
        with pytest.raises(SettingsError, match=r"request log .*nowhere.* cannot be written: No such file"):
            async with serve(Exchange(generated), log_path=tmp_path / "nowhere" / "requests.jsonl"):
                pass
