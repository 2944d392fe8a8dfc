"""Checks that a worker can serve the active studies, before it takes its first job."""

from redis import Redis

from tradeschool.errors import SettingsError
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import read_announcements
from workers.queue.messages import VERSION, Arrays, Prepared
from workers.work_horse.evaluator import Evaluator


def check_in(connection: Redis, evaluator: Evaluator[Arrays, Prepared], signer: Signer = UNSIGNED) -> None:
    """Check every announced study.

    Raises:
        SettingsError: A coordinator uses another version of the wire format, or a study names a strategy that this
            worker may not import.
        DataError: Candles of a study are missing here, or differ.
    """
    for study, announcement in read_announcements(connection, signer).items():
        if announcement.v != VERSION:
            raise SettingsError(
                f"study {study} uses version {announcement.v} of the wire format, this worker uses {VERSION}: "
                "install the same release everywhere"
            )
        if announcement.level:
            evaluator.check(announcement.level, announcement.digests)
