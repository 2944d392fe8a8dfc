"""Notices a study database that is older than the queue, and one that two coordinators use by mistake.

A database that was restored from a backup lacks the latest trials. What the queue holds of them is deleted before the
search goes on, so that a trial table never mixes both.
"""

import logging
from collections.abc import Callable

from tradeschool.errors import SettingsError
from tradeschool.plain_text import plain
from workers.queue.dispatch import Dispatcher

SAME_DATABASE = "set the same PostgreSQL storage_url on both machines (a SQLite file serves one machine)"
OlderCallback = Callable[[int, int], None]
"""Called with the number of trials that were committed, and the number in the database."""

log = logging.getLogger(__name__)


def check_age(dispatcher: Dispatcher, study: str, *, database: str, committed: int, older: OlderCallback) -> None:
    """Compare the database with the study's mark in the queue; call it before the first trial is sampled.

    Raises:
        SettingsError: A coordinator works on a study of this name in another database.
        ServiceUnreachable: Redis does not answer.
    """
    mark = dispatcher.last_mark()
    if mark is None:
        return
    if mark.database != database and mark.is_live:
        raise SettingsError(
            f"study {study}: a coordinator on {plain(mark.host)} works on it in another database, seen "
            f"{mark.age_seconds:.0f} s ago: {SAME_DATABASE}, or choose another --run; if that coordinator was killed, "
            "wait a minute"
        )
    if mark.committed > committed:
        jobs = dispatcher.forget_from(committed)
        reason = (
            f"{mark.committed} trials were committed, the database has {committed}: it was restored from a backup or "
            f"replaced; {jobs} jobs of later trials were deleted, and these trials are evaluated again"
        )
        log.warning("database older than queue", extra={"action": "database_older", "study": study, "reason": reason})
        older(mark.committed, committed)
