"""Absence of the embedded server: it runs only during a run, which is not an error."""

from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError

from tradeschool.embedded_valkey.server import EmbeddedValkey
from workers.connection.brief_connection import connect_briefly

NOT_RUNNING = "Redis is not running: no run is active; the embedded server starts and ends with a run"


def absence_of(embedded: EmbeddedValkey) -> str:
    """Return a note if the embedded server is stopped because no run is active, else an empty string."""
    connection = connect_briefly(embedded.url)
    try:
        connection.ping()
    except RedisGone:
        return "" if embedded.is_in_use else NOT_RUNNING
    except RedisError:
        return ""
    finally:
        connection.close()
    return ""
