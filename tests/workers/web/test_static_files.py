"""Static files of the page: syntax and size."""

import shutil
import subprocess
from importlib import resources

import pytest

STATIC = resources.files("workers.web") / "static"
SCRIPTS = sorted(each.name for each in STATIC.iterdir() if each.name.endswith(".js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_no_syntax_error(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; the browser's tests read the scripts, too")
    text = (STATIC / name).read_text()
    done = subprocess.run(
        [node, "--check", "--input-type=module"], input=text, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_every_script_is_loaded_by_the_page_or_another_script() -> None:
    loaded = "".join((STATIC / name).read_text() for name in ("index.html", "login.html", *SCRIPTS))

    assert not [name for name in SCRIPTS if f"/{name}" not in loaded]


def test_third_party_files_contain_their_licence() -> None:
    assert "MIT" in (STATIC / "vendor" / "uPlot-LICENSE.txt").read_text()
