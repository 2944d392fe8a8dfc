"""What a worker holds against the studies under way before it takes its first job."""

from redis import Redis

from tradeschool.errors import SettingsError
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import read_announcements
from workers.queue.messages import VERSION, Arrays, Prepared
from workers.work_horse.evaluator import Evaluator


def check_in(connection: Redis, evaluator: Evaluator[Arrays, Prepared], signer: Signer = UNSIGNED) -> None:
    """Refuse to work where a study that is under way could not be served.

    Raises:
        SettingsError: where its coordinator speaks another version of the wire format, or it names a strategy that
            this worker may not import.
        DataError: where its candles are missing here, or are others.
    """
    for study, announcement in read_announcements(connection, signer).items():
        if announcement.v != VERSION:
            raise SettingsError(
                f"study {study} uses version {announcement.v} of the wire format, this worker uses {VERSION}: "
                "install the same release everywhere"
            )
        if announcement.level:
            evaluator.check(announcement.level, announcement.digests)
