"""Failures of requests to object storage: what the answer means, and whether a later attempt may succeed."""

import re
from dataclasses import dataclass

from tradeschool.errors import ServiceUnreachable, StorageRefused, TradeschoolError
from tradeschool.object_storage.bucket_url import BucketUrl

CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
STATUS = re.compile(r"status code: (\d{3})")
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
WRONG_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AccessDenied", "AuthFailure"}
CLOCK = {"RequestTimeTooSkewed"}
PASSING = {408, 409, 425, 429}
"""Statuses below 500 that may pass."""
INVALID_REQUEST = "builder error"
"""Text of the library for a request that cannot be made, such as one with an invalid address."""
RENEW = "renew them and run the same command again"
LONGEST_REASON = 160


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed."""

    status: int | None
    code: str
    text: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Read the failure from an error of the library, which has status and answer in its text."""
        text = str(error)
        status, code = STATUS.search(text), CODE.search(text)
        return cls(int(status[1]) if status else None, code[1] if code else "", text)

    @property
    def may_pass(self) -> bool:
        """Whether a later attempt may succeed: an error of the server, a time-out, or a connection that was cut."""
        if self.code in EXPIRED | WRONG_CREDENTIALS | CLOCK | {"NoSuchBucket"} or _has_no_credentials(self.text):
            return False
        if INVALID_REQUEST in self.text:
            return False
        return self.status is None or self.status >= 500 or self.status in PASSING

    @property
    def reason(self) -> str:
        """The failure in a few words, without headers, addresses of requests and stack traces."""
        if self.status is not None:
            return f"status {self.status}{f' ({self.code})' if self.code else ''}"
        line = self.text.partition("\n")[0].rpartition(" - ")[2] or self.text.partition("\n")[0]
        return re.sub(r"\?\S+", "", line)[:LONGEST_REASON]

    def refusal(self, url: BucketUrl) -> TradeschoolError:
        """Return the error of a failure that no later attempt mends."""
        where = f"{url}"
        if self.code == "NoSuchBucket" or (self.status == 404 and not self.code):
            return StorageRefused(f"{where}: no bucket {url.bucket}; create it, or correct data_dir")
        if self.code in EXPIRED:
            return StorageRefused(f"{where}: the credentials have expired; {RENEW}")
        if self.code in CLOCK:
            return StorageRefused(f"{where}: the clock of this machine is wrong; correct it")
        if _has_no_credentials(self.text):
            return StorageRefused(
                f"{where}: no credentials; set those of the provider, see docs/how-to/object-storage.md"
            )
        if self.code in WRONG_CREDENTIALS or self.status in {401, 403}:
            return StorageRefused(f"{where}: access is denied ({self.reason}); check credentials and permissions")
        return ServiceUnreachable(f"{where}: {self.reason}; check data_dir and object_storage.endpoint")


def _has_no_credentials(text: str) -> bool:
    return "169.254.169.254" in text or "redential" in text.partition("\n")[0]
