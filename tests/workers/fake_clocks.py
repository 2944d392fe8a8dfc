"""Wrong clocks for programs: libfaketime, which a test can set while the program runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
MISSING = "no libfaketime here: it is Debian's package of that name, which .ci/run installs"


def library() -> Path | None:
    """Path of libfaketime, or None if it is not installed."""
    return next((path for path in LIBRARIES if path.exists()), None)


@dataclass(frozen=True)
class WrongClock:
    """One wall clock; monotonic clocks are not affected."""

    file: Path

    def set(self, seconds: float) -> None:
        """Set the clock a number of seconds ahead of the machine."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.rename(self.file)

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for programs that use the clock."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": f"{HERE / 'faketime'}:{HERE.parent.parent}",
        }
