"""Static files of the page: syntax and size."""

import shutil
import subprocess
from importlib import resources

import pytest

STATIC = resources.files("workers.web") / "static"
SCRIPTS = sorted(each.name for each in STATIC.iterdir() if each.name.endswith(".js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_no_error_of_syntax(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; the browser's tests read the scripts, too")
    text = (STATIC / name).read_text()
    done = subprocess.run(
        [node, "--check", "--input-type=module"], input=text, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_every_script_of_the_page_is_loaded_by_it_or_by_another() -> None:
    loaded = "".join((STATIC / name).read_text() for name in ("index.html", "login.html", *SCRIPTS))

    assert not [name for name in SCRIPTS if f"/{name}" not in loaded]


def test_what_others_wrote_bears_its_licence() -> None:
    assert "MIT" in (STATIC / "vendor" / "uPlot-LICENSE.txt").read_text()
