"""The built image: another user, a read-only root file system, the health check and the bill of materials.

`scripts/image` builds it and runs these tests. No engine is needed: they mount the image's file system read-only in a
mount namespace of their own.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.workers.servers import private_server, wait_until

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("TRADESCHOOL_TEST_IMAGE", "")
pytestmark = pytest.mark.skipif(not IMAGE, reason="no image was built: ./scripts/image builds and tests it")
USER = 10001
HOME = "/var/lib/tradeschool"
ENTER = """
set -eu
mount --bind "$ROOT" "$ROOT"
for place in proc dev; do mount --rbind "/$place" "$ROOT/$place"; done
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs "$ROOT$HOME_FOLDER"
mkdir "$ROOT/tmp/server" && mount --bind "$SERVER" "$ROOT/tmp/server"
mount -o remount,bind,ro "$ROOT"
exec chroot --userspec=10001:10001 "$ROOT" /usr/bin/env -i PATH=/opt/tradeschool/bin:/usr/bin:/bin HOME="$HOME_FOLDER" \
    PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib TRADESCHOOL_STATE_DIR="$HOME_FOLDER/state" \
    TRADESCHOOL_REDIS_URL=unix:///tmp/server/valkey.sock /bin/sh -c "cd $HOME_FOLDER; $SCRIPT"
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The file system of the image."""
    environment = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", **os.environ}

    def buildah(*words: str) -> str:
        return subprocess.run(
            ["buildah", *words], check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    container = buildah("from", IMAGE)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)


def inside(image: Path, script: str, server: Path) -> subprocess.Popen[str]:
    """Start a shell script as the user of the image."""
    environment = {**os.environ, "ROOT": str(image), "SERVER": str(server), "SCRIPT": script, "HOME_FOLDER": HOME}
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", ENTER]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ran(image: Path, script: str, server: Path) -> str:
    process = inside(image, script, server)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def test_the_root_file_system_is_read_only_and_the_user_another(image: Path, tmp_path: Path) -> None:
    script = "id -u; touch /opt/x 2> /dev/null || echo closed; touch here /tmp/there && tradeschool --version"
    output = ran(image, script, tmp_path).split()

    assert output[:2] == [str(USER), "closed"]
    assert output[2] == "tradeschool,"


def test_the_image_holds_neither_pip_nor_secrets(image: Path) -> None:
    packages = next((image / "opt/tradeschool/lib").glob("python3.*")) / "site-packages"

    assert not (packages / "pip").exists()
    assert not list((image / "run").glob("secrets/*"))
    assert list(packages.glob("numba/**/*.pyc")), "compiled: nothing can be written at run time"


def test_the_bill_of_materials_lists_what_is_installed(image: Path) -> None:
    bill = json.loads((image / "opt/tradeschool/share/sbom/tradeschool.cdx.json").read_text())
    listed = {normal(each["name"]): each["version"] for each in bill["components"]}
    packages = next((image / "opt/tradeschool/lib").glob("python3.*")) / "site-packages"
    installed = {normal(path.name.split("-")[0]) for path in packages.glob("*.dist-info")}
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", lock, re.MULTILINE)
    locked = {(normal(name), version) for name, version in pinned}  # some have another version for another Python

    assert bill["bomFormat"] == "CycloneDX"
    assert installed - set(listed) == {"tradeschool-curriculum"}, "the project itself is the subject of the bill"
    assert set(listed.items()) <= locked
    assert all(each.get("purl") for each in bill["components"])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_health_check_tells_a_working_worker_from_a_stuck_one(image: Path) -> None:
    """A real worker of the image; it is stopped, found stuck, and continues."""
    with private_server() as server:
        folder = Path(server.url.removeprefix("unix://")).parent
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o777)
        script = (
            "tradeschool worker start -n 1 --no-standby & pool=$!; "
            "until tradeschool worker health --ready --stuck-after 600 > /dev/null 2>&1; do sleep 1; done; echo ready; "
            "worker=$(tr ' ' '\\n' < /proc/$pool/task/$pool/children | head -1); "
            "kill -STOP $worker; sleep 12; tradeschool worker health --stuck-after 10 > /dev/null 2>&1; echo stuck $?; "
            "kill -CONT $worker; "
            "until tradeschool worker health --stuck-after 60 > /dev/null 2>&1; do sleep 1; done; echo working; "
            "kill -TERM $pool; wait $pool; echo ended $?"
        )
        process = inside(image, script, folder)
        connection = Redis.from_url(server.url)
        wait_until(lambda: connection.scard("rq:workers:trials") == 1 or process.poll() is not None, seconds=600)
        output, _ = process.communicate(timeout=600)
    told = [line for line in output.splitlines() if line in {"ready", "stuck 1", "working", "ended 0"}]

    assert told == ["ready", "stuck 1", "working", "ended 0"], output
    assert process.returncode != -signal.SIGKILL
