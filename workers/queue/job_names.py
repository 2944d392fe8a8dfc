"""Parses the names of studies and jobs.

A study is `{run}-L{level}-a{round}`, with `-w{window}` for a window of a walk-forward, or `{run}-null` for the
surrogate markets of a null test; a job is `{study}-{first}-{last}-a{attempt}`.
"""

import re

NULL = "null"
STUDY = re.compile(rf"(?P<run>.+)-(?:L(?P<level>[A-Za-z0-9]+)-a(?P<round>\d+)(?:-w(?P<window>\d+))?|(?P<null>{NULL}))")
JOB = re.compile(rf"{STUDY.pattern}-(?P<first>\d+)-(?P<last>\d+)-a(?P<attempt>\d+)")


def null_study(run: str) -> str:
    """The study of a run's null test: its trials are the surrogate markets."""
    return f"{run}-{NULL}"


def is_null_study(study: str) -> bool:
    """Whether a study is that of a null test."""
    found = STUDY.fullmatch(study)
    return bool(found and found["null"])


def trials_of(job: str) -> str:
    """The trials that a job holds, such as `12` or `12-15`; the job's id if it has another form."""
    found = JOB.fullmatch(job)
    if found is None:
        return job
    numbers = found["first"] if found["first"] == found["last"] else f"{found['first']}-{found['last']}"
    return f"surrogate market {numbers}" if found["null"] else numbers


def level_of(job: str) -> str:
    """The level that a job belongs to; empty for a null test, and if its id has another form."""
    found = JOB.fullmatch(job)
    return (found["level"] or "") if found else ""


def attempt_of(job: str) -> int:
    """The number of a job's attempt; 1 if its id has another form."""
    found = JOB.fullmatch(job)
    return int(found["attempt"]) if found else 1


def size_of(job: str) -> int:
    """The number of trials that a job may hold; 1 if its id has another form."""
    found = JOB.fullmatch(job)
    return max(1, int(found["last"]) - int(found["first"]) + 1) if found else 1


def study_of(job: str) -> str:
    """The study that a job belongs to; empty if its id has another form."""
    return job.rsplit("-", 3)[0] if JOB.fullmatch(job) else ""


def about_study(study: str) -> dict[str, str]:
    """Log fields of a study."""
    found = STUDY.fullmatch(study)
    if found is None:
        return {"study": study}
    return {"run": found["run"]} | ({"level": found["level"]} if found["level"] else {})


def about_job(job: str) -> dict[str, str | int]:
    """Log fields of a job."""
    found = JOB.fullmatch(job)
    if found is None:
        return {"job": job}
    study, trials = job.rsplit("-", 3)[0], trials_of(job)
    if found["null"]:
        return {**about_study(study), "surrogate": trials.removeprefix("surrogate market ")}
    return {**about_study(study), "trial": int(trials) if trials.isdigit() else trials}
