"""A clock that is wrong, and can be set while a program runs: libfaketime's, which the program is started with."""

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
    """None where it is not installed."""
    return next((path for path in LIBRARIES if path.exists()), None)


@dataclass(frozen=True)
class WrongClock:
    """One wall clock; time that only runs, and never is set, is everybody's own."""

    file: Path

    def set(self, seconds: float) -> None:
        """So many seconds ahead of the machine's, from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.rename(self.file)

    @property
    def environment(self) -> Mapping[str, str]:
        """For the programs that go by it."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": f"{HERE / 'faketime'}:{HERE.parent.parent}",
        }
