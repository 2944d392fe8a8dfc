"""What a worker holds against the studies under way before it takes its first job."""

from redis import Redis

from tradeschool.errors import SettingsError
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import notices
from workers.queue.messages import VERSION, Arrays, Prepared
from workers.work_horse.evaluator import Bench


def check_in(connection: Redis, bench: Bench[Arrays, Prepared], signer: Signer = UNSIGNED) -> None:
    """Refuse to work where a study that is under way could not be served.

    Raises:
        SettingsError: where its conductor speaks another version of the wire format, or it names a strategy that
            this worker may not import.
        DataError: where its candles are missing here, or are others.
    """
    for study, notice in notices(connection, signer).items():
        if notice.v != VERSION:
            raise SettingsError(
                f"study {study} is conducted in version {notice.v} of the wire format, this worker speaks {VERSION}: "
                "install the same release everywhere"
            )
        if notice.level:
            bench.check(notice.level, notice.digests)
