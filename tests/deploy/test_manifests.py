"""Image, compose file, Kubernetes manifests and systemd units: their commands, settings, secrets and hardening."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tradeschool.cli.main import tradeschool
from tradeschool.settings.model import PREFIX, is_setting
from tradeschool.settings.sections import WorkSettings
from workers.processes.pool import PoolSettings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = {name: each for name, each in COMPOSE["services"].items() if "tradeschool" in each["image"].lower()}
MAX_EXPOSURE = 2.0
"""Worst exposure level of a unit by `systemd-analyze security`, on its scale from 0 to 10."""


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(K8S.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in manifests():
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, spec in pod_specs():
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield f"{name}/{container['name']}", container


def commands() -> dict[str, list[str]]:
    """Every command line of the program by its place, without the program's name."""
    found = {f"compose {name}": each["command"] for name, each in SERVICES.items()}
    for name, container in containers():
        if container["image"] == "tradeschool":
            found[f"k8s {name}"] = container["args"]
        for probe in ("livenessProbe", "readinessProbe"):
            words = container.get(probe, {}).get("exec", {}).get("command", [""])
            if words[0] == "tradeschool":
                found[f"k8s {name} {probe}"] = words[1:]
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=/opt/tradeschool/bin/tradeschool (.*)$", unit.read_text(), re.MULTILINE):
            found[unit.name] = shlex.split(line)
    check = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert check
    found["image health check"] = json.loads(check[1])[1:]
    found["image compile"] = ["compile"]
    return found


def parse(words: Sequence[str]) -> None:
    """Parse a command line as the program does, without running it."""
    command: click.Command = tradeschool
    context, rest = None, list(words)
    while isinstance(command, click.Group):
        context = command.make_context(command.name, rest, parent=context)
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        command = found
    command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("place", commands())
def test_every_command_of_the_manifests_exists(place: str) -> None:
    parse(commands()[place])


def test_a_wrong_command_is_found() -> None:
    for words in (["worker", "begin"], ["worker", "start", "--least", "1"], ["serve", "--port", "x"]):
        with pytest.raises(click.ClickException):
            parse(words)


def environments() -> dict[str, Mapping[str, str]]:
    found = {f"compose {name}": each["environment"] for name, each in SERVICES.items()}
    found |= {each["metadata"]["name"]: each["data"] for each in manifests() if each["kind"] == "ConfigMap"}
    found |= {name: {each["name"]: each["value"] for each in one.get("env", ())} for name, one in containers()}
    for unit in UNITS:
        found[unit.name] = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    return found


@pytest.mark.parametrize("place", environments())
def test_every_variable_is_a_setting_and_none_is_a_secret(place: str) -> None:
    names = [name for name in environments()[place] if name.startswith(PREFIX)]
    unknown = [name for name in names if not is_setting(name.removeprefix(PREFIX).lower().replace("__", "."))]

    assert unknown == []
    assert not [name for name in names if re.search("(PASSWORD|TOKEN|KEY)$", name)]
    assert not [value for value in environments()[place].values() if re.search(r"://[^/@]*:[^/@]*@", value)]


def test_every_secret_file_is_one_that_the_script_makes(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "made")
    mounted = {name for each in COMPOSE["services"].values() for name in each.get("secrets", ())}
    mounted |= {
        item["key"]
        for _, spec in pod_specs()
        for volume in spec["volumes"]
        for item in volume.get("secret", {}).get("items", ())
    }
    used = set(re.findall(r"key: (\w+)", (K8S / "keda" / "worker-scaling.yaml").read_text()))

    assert mounted | used | set(COMPOSE["secrets"]) <= set(made)
    assert {Path(each["file"]).name for each in COMPOSE["secrets"].values()} == set(COMPOSE["secrets"])
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert make_secrets(tmp_path / "made") == made, "existing secrets are kept"
    assert len({text for text in make_secrets(tmp_path / "other").values() if text != "trials"} & {*made.values()}) == 0


def make_secrets(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", ROOT / "deploy" / "make-secrets", folder], check=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("name", SERVICES)
def test_services_of_the_program_are_locked_down(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"] if name != "worker" else "healthcheck" not in service


def test_only_the_page_is_published_and_only_on_loopback() -> None:
    ports = {name: each["ports"] for name, each in COMPOSE["services"].items() if "ports" in each}

    assert ports == {"page": ["127.0.0.1:8765:8765"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, each in COMPOSE["services"].items() if "outside" in each["networks"]} == {"fetcher", "page"}


@pytest.mark.parametrize(("name", "spec"), list(pod_specs()))
def test_pods_are_not_privileged(name: str, spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        locked = container["securityContext"]
        assert locked["readOnlyRootFilesystem"]
        assert locked["capabilities"] == {"drop": ["ALL"]}
        assert locked["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_workers_have_no_access_to_the_study() -> None:
    worker = dict(pod_specs())["worker"]
    names = {ref["configMapRef"]["name"] for ref in worker["containers"][0]["envFrom"]}

    assert names == {"tradeschool-settings"}
    assert "postgres_password" not in json.dumps(worker)
    assert not [name for name in SERVICES["worker"]["environment"] if "STORAGE" in name or "DATABASE" in name]
    assert "postgres_password" not in SERVICES["worker"]["secrets"]


def test_a_stopped_worker_has_time_for_its_trial() -> None:
    longest = max(WorkSettings().trial_timeout_seconds, PoolSettings().drain_seconds)
    unit = (ROOT / "deploy" / "systemd" / "tradeschool-worker.service").read_text()
    (minutes,) = re.findall(r"^(\d+)m$", SERVICES["worker"]["stop_grace_period"])
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)

    assert dict(pod_specs())["worker"]["terminationGracePeriodSeconds"] > longest
    assert 60 * int(minutes) > longest
    assert int(seconds) > longest


def test_the_autoscaler_adds_queued_and_running_jobs() -> None:
    """Both are triggers of KEDA's Redis scaler; fields and names are those of its documentation."""
    (scaled,) = [each for each in manifests() if each["kind"] == "ScaledObject"]
    (access,) = [each for each in manifests() if each["kind"] == "TriggerAuthentication"]
    spec = scaled["spec"]
    triggers = {each["name"]: each for each in spec["triggers"]}

    assert spec["scaleTargetRef"] == {"name": "worker"}
    assert set(re.findall(r"\w+", spec["advanced"]["scalingModifiers"]["formula"])) == set(triggers)
    assert {each["type"] for each in triggers.values()} == {"redis"}
    assert {each["metadata"]["listName"] for each in triggers.values()} == {"rq:queue:trials", "rq:wip:trials"}
    assert {each["authenticationRef"]["name"] for each in triggers.values()} == {access["metadata"]["name"]}
    assert {each["parameter"] for each in access["spec"]["secretTargetRef"]} == {"username", "password"}
    known = {"address", "listName", "listLength", "activationListLength", "databaseIndex", "enableTLS", "unsafeSsl"}
    for each in triggers.values():
        assert set(each["metadata"]) <= known
        assert all(isinstance(value, str) for value in each["metadata"].values()), "KEDA takes strings only"


@cache
def rendered(name: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here: it renders the manifests")
    command = ["kubectl", "kustomize", str(K8S / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout))


def test_kustomize_renders_every_folder() -> None:
    base, keda, search = rendered("base"), rendered("keda"), rendered("search")
    (worker,) = [each for each in keda if each["kind"] == "Deployment" and each["metadata"]["name"] == "worker"]

    assert len(keda) == len(base) + 2
    assert [each["kind"] for each in search] == ["Job"]
    assert "replicas" not in worker["spec"], "each apply would undo the autoscaler's number"
    for each in (*base, *search):
        assert each["metadata"]["namespace"] == "tradeschool"
        if "template" in each.get("spec", {}):
            assert each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tradeschool"


def test_every_selector_of_a_network_policy_selects_a_pod() -> None:
    pods = {each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for each in manifests()
            if "template" in each.get("spec", {})}  # fmt: skip
    text = (K8S / "base" / "network.yaml").read_text()
    named = set(re.findall(r"app.kubernetes.io/name: (\w+)", text))
    named |= {name.strip() for names in re.findall(r"values: \[(.*)\]", text) for name in names.split(",")}

    assert named <= pods
    assert {"valkey", "postgres", "worker", "page", "search", "standby"} <= named


@cache
def runnable_units(folder: Path) -> tuple[Path, ...]:
    """The units with a program that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: it is part of Debian's package systemd")
    for unit in UNITS:
        (folder / unit.name).write_text(unit.read_text().replace("/opt/tradeschool/bin/tradeschool", "/bin/true"))
    return tuple(folder / unit.name for unit in UNITS)


def test_systemd_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` exits with 0 for unknown keys, so that its output counts."""
    units = runnable_units(tmp_path)
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "notice"}
    told = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False, env=environment
    )
    about_ours = [line for line in told.stderr.splitlines() if str(tmp_path) in line or "tradeschool-" in line]

    assert (told.returncode, about_ours) == (0, [])


def test_the_units_are_hardened(tmp_path: Path) -> None:
    services = [str(unit) for unit in runnable_units(tmp_path) if unit.suffix == ".service"]
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={int(10 * MAX_EXPOSURE)}"]
    exposure = {}
    for unit in services:
        told = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
        found = re.search(r"Overall exposure level for .*: ([\d.]+)", told.stdout)
        assert found, told.stdout[-500:] + told.stderr[-500:]
        exposure[Path(unit).name] = float(found[1])

    assert max(exposure.values()) <= MAX_EXPOSURE, exposure


def test_the_image_runs_as_another_user_with_a_health_check() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]

    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    copied = {
        name for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in names.split()
    }
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert copied == set(allowed), "the build context holds exactly what is copied"
