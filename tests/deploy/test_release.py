"""The release: equal archives from equal sources, their content, and an installation that knows no repository."""

import email.message
import email.parser
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml

from optimizer.compilation.code_cache import SUFFIX

ROOT = Path(__file__).parents[2]
PACKAGES = ("fetcher", "optimizer", "tradeschool", "workers")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
LARGEST_BYTES = 5_000_000
SOURCES = {
    *PACKAGES,
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
}
"""What the source distribution contains at its top."""


def released(folder: Path, **environment: str) -> Path:
    """Build both archives into a new folder."""
    subprocess.run(
        [ROOT / "scripts" / "release", folder], env={**os.environ, **environment}, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("first build"))


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    (found,) = archives.glob("*.whl")
    return found


def package_files() -> set[str]:
    """Every file of the packages that git does not ignore."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


def test_equal_sources_give_equal_archives(archives: Path, tmp_path: Path) -> None:
    again = released(tmp_path / "second build", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1")
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (archives, again)
    ]

    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_the_wheel_contains_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        rest = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}

    assert names == package_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= rest
    assert [name for name in rest if name.endswith("uPlot-LICENSE.txt")]
    assert wheel.stat().st_size < LARGEST_BYTES


def test_the_source_distribution_contains_what_a_build_needs(archives: Path) -> None:
    (found,) = archives.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}

    assert {name.split("/")[0] for name in names} == SOURCES
    assert package_files() <= names
    assert found.stat().st_size < LARGEST_BYTES


def test_the_metadata_names_version_license_and_a_description(wheel: Path) -> None:
    found = metadata(wheel)

    assert (found["Name"], found["Version"]) == ("tradeschool-curriculum", VERSION)
    assert (found["License-Expression"], found["Requires-Python"]) == ("MIT", PROJECT["requires-python"])
    assert found["Description-Content-Type"] == "text/markdown"
    assert "# tradeschool\n" in str(found.get_payload())
    assert not [line for line in found.get_all("Requires-Dist", []) if " @ " in line], "a package from an address"


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_version_and_day_of_the_release_are_the_same_everywhere() -> None:
    latest = re.search(r"^## \[(\d[^\]]*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    label = re.search(r'image\.version="([^"]+)"', (ROOT / "Dockerfile").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert latest
    assert label

    assert (latest[1], label[1], citation["version"]) == (VERSION, VERSION, VERSION)
    assert citation["date-released"] == date.fromisoformat(latest[2])


def test_the_citation_follows_its_schema() -> None:
    """The rules of Citation File Format 1.2.0 for the keys that are used."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    texts = ("cff-version", "message", "type", "title", "abstract", "version", "license")

    assert set(citation) == {*texts, "authors", "date-released", "keywords"}
    assert all(isinstance(citation[name], str) and citation[name] for name in texts)
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert [set(author) for author in citation["authors"]] == [{"name"}], "an entity, as opposed to a person"
    assert isinstance(citation["date-released"], date)
    assert citation["keywords"] == PROJECT["keywords"]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `tradeschool` of the wheel in an environment whose other packages are those of the tests."""
    home = tmp_path_factory.mktemp("clean") / "an environment"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    libraries = next(home.glob("lib/python*/site-packages")) / "libraries.pth"
    libraries.write_text(sysconfig.get_path("purelib"))
    uv = Path(sys.executable).with_name("uv")
    pip = [uv, "pip", "install", "--offline", "--python", python] if uv.exists() else pip_of(python)
    subprocess.run([*pip, "--quiet", "--no-deps", wheel], check=True)
    code = home / "machine code"
    code.mkdir()
    for path in (ROOT / "optimizer").rglob(f"*{SUFFIX}"):  # of equal sources, so that nothing is compiled twice
        shutil.copy(path, code)
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(home), "NUMBA_CACHE_DIR": str(code), "LANG": "C.UTF-8"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [home / "bin" / "tradeschool", *words]
        return subprocess.run(command, cwd=home, env=clean, capture_output=True, text=True, check=False)

    return run


def pip_of(python: Path) -> list[str | Path]:
    """The command of the base interpreter's pip for another environment."""
    return [f"{sys.base_prefix}/bin/python3", "-m", "pip", "--python", python, "install", "--no-index"]


def test_the_installed_program_says_its_version(installed: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert installed("--version").stdout == f"tradeschool, version {VERSION}\n"


def test_doctor_finds_the_installed_packages(installed: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    found = {each["check"]: each for each in json.loads(installed("doctor", "--offline", "--json").stdout)}

    assert found["libraries"]["state"] == "ok", found["libraries"]
    assert found["packages"]["found"].startswith("all from ")
    assert "an environment" in found["packages"]["found"]


def test_the_demo_of_the_wheel_finds_the_expected_trials(
    installed: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = installed("demo", "--folder", str(tmp_path / "a demo"))
    assert done.returncode == 0, done.stderr
    (table,) = (tmp_path / "a demo").glob("*/results/*/1/trials.csv")

    assert "do not deploy" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "a demo").glob("*/results/*/report.html"))
    assert hashlib.sha256(table.read_bytes()).hexdigest() == (ROOT / "tests" / "demo-table.sha256").read_text().strip()
