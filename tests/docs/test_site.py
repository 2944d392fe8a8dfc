"""The site builds without a warning, every page is in its navigation, and it needs no other host."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def pages(nav: list[Any]) -> list[str]:
    """The pages of a navigation in order."""
    found: list[str] = []
    for each in nav:
        for target in each.values():
            found += pages(target) if isinstance(target, list) else [target]
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a broken link or anchor ends the build."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("*.webp"))
    for picture in (DOCS / "images").iterdir():
        (folder / "docs" / "images" / picture.name).touch()
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])

    assert sorted(navigation) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_every_page_begins_with_a_title() -> None:
    for path in DOCS.rglob("*.md"):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("<!--")]
        assert lines[0].startswith("# "), path


def test_the_site_has_each_page_and_loads_nothing_from_another_host(site: Path) -> None:
    html = {path: path.read_text() for path in site.rglob("*.html")}
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(https?:)?//|<link[^>]*rel=\"?(?:stylesheet|preload|icon)[^>]*href=\"?https?:"
    )

    assert len(html) >= len(list(DOCS.rglob("*.md")))
    assert [path for path, text in html.items() if loaded.search(text)] == []


def test_no_link_of_the_site_leads_to_a_source_file(site: Path) -> None:
    """The files of the repository are not part of it: `docsite.repository_links`."""
    links = re.compile(
        r"href=\"?(?:\.\./)+(?:benchmarks|deploy|fetcher|optimizer|scripts|tests|tradeschool|workers)/[^\">]*\\.\\w+[\">]"
    )

    assert [path for path in site.rglob("*.html") if links.search(path.read_text())] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_each_link_of_the_other_pages_has_a_target(name: str) -> None:
    """They are read in the repository, not on the site."""
    text = (ROOT / name).read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        path = ROOT / target if target else ROOT / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), f"{target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """The anchors of the titles of a page."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
