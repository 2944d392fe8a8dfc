"""What one check of the installation found, and what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from tradeschool.errors import TradeschoolError


class CheckState(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    """Something does not work or is slower, and the rest works without it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one check."""

    check: str
    state: CheckState = CheckState.OK
    found: str
    action: str = ""
    """What to do; empty if nothing is to be done."""

    def as_json(self) -> dict[str, str]:
        """Return the finding with plain values."""
        return {"check": self.check, "state": self.state.value, "found": self.found, "action": self.action}


def ok(check: str, found: str) -> CheckResult:
    """Return a finding that needs no action."""
    return CheckResult(check=check, found=found)


def warning(check: str, found: str, action: str) -> CheckResult:
    """Return a finding that the rest works without."""
    return CheckResult(check=check, state=CheckState.WARNING, found=found, action=action)


def failed(check: str, found: str, action: str) -> CheckResult:
    """Return a finding that stops the program from working."""
    return CheckResult(check=check, state=CheckState.FAILED, found=found, action=action)


Check = Callable[[], CheckResult | Iterable[CheckResult]]


def findings_of(checks: dict[str, Check]) -> list[CheckResult]:
    """Run the checks in order; an error of the program becomes a failed check with its message."""
    found: list[CheckResult] = []
    for name, check in checks.items():
        try:
            result = check()
            found += [result] if isinstance(result, CheckResult) else [*result]
        except TradeschoolError as error:
            found.append(failed(name, str(error), "fix it as the message says, then run doctor again"))
    return found
