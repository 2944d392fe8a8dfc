"""Helper process that transfers objects for a process that forks, because the library's threads do not survive a fork.

The parent writes one request as JSON to standard input and reads the answer from standard output.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tradeschool import errors
from tradeschool.errors import ServiceUnreachable, TradeschoolError
from tradeschool.interpreter import python_command
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.client import ObjectClient, ObjectInfo, ObjectMissing, ObjectTooLarge
from tradeschool.object_storage.waiting import still_waiting

POLL_SECONDS = 0.5


class HelperClient:
    """Reads objects through a helper process; the reading part of `ObjectClient`."""

    def __init__(self, config: BucketConfig) -> None:
        self.url, self._config = config.url, config

    def read(self, key: str, largest: int) -> tuple[bytes, str]:
        """As `ObjectClient.read`."""
        body, version = self._ask("read", key=key, largest=largest)
        return bytes.fromhex(body), version

    def download(self, key: str, path: Path, largest: int) -> str:
        """As `ObjectClient.download`."""
        return str(self._ask("download", key=key, path=str(path.absolute()), largest=largest))

    def listing(self, folder: str) -> list[ObjectInfo]:
        """As `ObjectClient.listing`."""
        return [ObjectInfo(*each) for each in self._ask("list", folder=folder)]

    def size(self, key: str) -> int | None:
        """As `ObjectClient.size`."""
        found: int | None = self._ask("size", key=key)
        return found

    def _ask(self, action: str, **arguments: object) -> Any:
        request = json.dumps({"config": self._config.as_json(), "do": action, "arguments": arguments})
        process = subprocess.Popen(  # noqa: S603  # our own program
            python_command("-m", "tradeschool.object_storage.helper"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        pending: str | None = request
        try:
            while True:
                try:
                    output, _ = process.communicate(pending.encode() if pending else None, timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    pending = None
                    still_waiting()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self._answer(output, process.returncode)

    def _answer(self, output: bytes, code: int) -> Any:
        try:
            answer = json.loads(output)
        except ValueError:
            raise ServiceUnreachable(f"{self.url}: the transfer process ended with code {code}; try again") from None
        match answer:
            case {"missing": True}:
                raise ObjectMissing
            case {"too_large": str(text)}:
                raise ObjectTooLarge(text)
            case {"error": str(kind), "message": str(text)}:
                raise getattr(errors, kind, TradeschoolError)(text)
        return answer["done"]


_forks = False


def this_process_forks() -> None:
    """Make this process and its forked children read objects through helper processes from now on."""
    global _forks
    _forks = True


def client_of(config: BucketConfig) -> ObjectClient | HelperClient:
    """Return the client that this process may use for reading."""
    return HelperClient(config) if _forks else ObjectClient(config)


def main() -> None:
    """Answer the request on standard input."""
    logging.basicConfig(level=logging.WARNING, format="tradeschool: %(message)s")
    request = json.loads(sys.stdin.buffer.read())
    answer: dict[str, object]
    try:
        client = ObjectClient(BucketConfig.from_json(request["config"]))
        answer = {"done": _ACTIONS[request["do"]](client, **request["arguments"])}
    except ObjectMissing:
        answer = {"missing": True}
    except ObjectTooLarge as error:
        answer = {"too_large": str(error)}
    except TradeschoolError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(answer))


def _read(client: ObjectClient, key: str, largest: int) -> list[str]:
    body, version = client.read(key, largest)
    return [body.hex(), version]


def _list(client: ObjectClient, folder: str) -> list[list[object]]:
    return [[each.key, each.size, each.version] for each in client.listing(folder)]


_ACTIONS: dict[str, Callable[..., object]] = {
    "read": _read,
    "list": _list,
    "size": lambda client, key: client.size(key),
    "download": lambda client, key, path, largest: client.download(key, Path(path), largest),
}

if __name__ == "__main__":
    main()
