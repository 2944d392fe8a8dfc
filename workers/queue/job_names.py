"""Parses the names of studies, `{run}-L{level}-a{round}`, and of jobs, `{study}-{first}-{last}-a{attempt}`.

The study of a window of a walk-forward ends with `-w{window}`.
"""

import re

STUDY = re.compile(r"(?P<run>.+)-L(?P<level>[A-Za-z0-9]+)-a(?P<round>\d+)(?:-w(?P<window>\d+))?")
JOB = re.compile(rf"{STUDY.pattern}-(?P<first>\d+)-(?P<last>\d+)-a(?P<attempt>\d+)")


def trials_of(job: str) -> str:
    """The trials that a job holds, such as `12` or `12-15`; the job's id if it has another form."""
    found = JOB.fullmatch(job)
    if found is None:
        return job
    return found["first"] if found["first"] == found["last"] else f"{found['first']}-{found['last']}"


def level_of(job: str) -> str:
    """The level that a job belongs to; empty if its id has another form."""
    found = JOB.fullmatch(job)
    return found["level"] if found else ""


def attempt_of(job: str) -> int:
    """The number of a job's attempt; 1 if its id has another form."""
    found = JOB.fullmatch(job)
    return int(found["attempt"]) if found else 1


def study_of(job: str) -> str:
    """The study that a job belongs to; empty if its id has another form."""
    return job.rsplit("-", 3)[0] if JOB.fullmatch(job) else ""


def about_study(study: str) -> dict[str, str]:
    """Log fields of a study."""
    found = STUDY.fullmatch(study)
    return {"run": found["run"], "level": found["level"]} if found else {"study": study}


def about_job(job: str) -> dict[str, str | int]:
    """Log fields of a job."""
    if not JOB.fullmatch(job):
        return {"job": job}
    study, trials = job.rsplit("-", 3)[0], trials_of(job)
    return {**about_study(study), "trial": int(trials) if trials.isdigit() else trials}
