"""Checks that a worker can serve the active studies, before it takes its first job."""

import logging

from redis import Redis

from optimizer.runs.fingerprint import release
from tradeschool.plain_text import plain
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import read_announcements
from workers.queue.messages import MAX_RELEASE, Arrays, Prepared
from workers.work_horse.evaluator import Evaluator

log = logging.getLogger(__name__)


def check_in(connection: Redis, evaluator: Evaluator[Arrays, Prepared], signer: Signer = UNSIGNED) -> None:
    """Check every announced study of this release; log those of another, whose jobs this worker puts back.

    Raises:
        SettingsError: A study names a strategy that this worker may not import.
        DataError: Candles of a study are missing here, or differ.
    """
    for study, announcement in read_announcements(connection, signer).items():
        if not announcement.is_ours:
            theirs = plain(announcement.release)[:MAX_RELEASE] or f"one with messages of version {announcement.v}"
            reason = f"the search has release {theirs}, this worker has {release()}: it leaves the jobs to others"
            log.warning("study of another release", extra={"action": "other_release", "study": study, "reason": reason})
        elif announcement.level:
            evaluator.check(announcement.level, announcement.digests)
