"""Users' modules in the bucket: published under the digest of their source, signed, and fetched by workers.

    <url>/strategies/ab12...json        module, source and signature; never changed

A coordinator names the digest of each user's module in its batches. A worker that lacks the module fetches exactly
that source, and imports it under the same limits as a local one. Without `work.signing_key`, nothing is fetched.
"""

import json
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from optimizer.level.spec import Level
from optimizer.strategies.registry import import_from
from tradeschool.atomic_files import publish
from tradeschool.errors import SettingsError
from tradeschool.object_storage.bucket_config import BucketConfig
from tradeschool.object_storage.client import ObjectChanged, ObjectClient, ObjectMissing, ObjectTooLarge
from tradeschool.object_storage.helper import client_of
from workers.connection.signing import UNSIGNED, Signer
from workers.isolation.strategy_allowlist import StrategyNotAllowed, UserCode, user_code

MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""A module of one file; a package is installed on each machine instead."""
DIGEST = re.compile(r"[0-9a-f]{64}")
LARGEST_SOURCE = 1_000_000
"""Bytes of a module's source at most."""
LARGEST_OBJECT = 3 * LARGEST_SOURCE
"""Bytes of its object at most: JSON in JSON."""
PREFIX = "module "
"""Start of a module's name among the digests of a batch."""


class ModuleMissing(StrategyNotAllowed):
    """A worker lacks the module of a strategy and cannot fetch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSupply:
    """Where a worker gets modules that it lacks."""

    folder: Path
    """Folder of fetched modules: one below it for each digest."""
    bucket: BucketConfig | None = None
    signer: Signer = UNSIGNED

    def provide(self, levels: Collection[Level], digests: Mapping[str, str]) -> None:
        """Make the modules of all users' objects importable, with the sources that `digests` name; import none.

        Raises:
            ModuleMissing: if a module is neither here nor in the bucket, or its signature or digest is wrong.
            ServiceUnreachable: if the bucket does not answer.
        """
        for code in user_code(levels):
            module = module_of(code.name)
            digest = digests.get(f"{PREFIX}{module}")
            if digest and _digest_of(source_path(module)) != digest:
                import_from(module, self._fetched(code, module, digest))
            elif MODULE.fullmatch(module) and source_path(module) is None and not _is_installed(module):
                raise ModuleMissing(_missing(code, module))

    def _fetched(self, code: UserCode, module: str, digest: str) -> Path:
        """Return a folder that contains the module alone, with the source of that digest."""
        if not MODULE.fullmatch(module) or not DIGEST.fullmatch(digest) or _is_installed(module):
            raise ModuleMissing(
                f"{code.kind} {code.name[:80]!r}: this worker has another version of module {module[:64]!r} installed: "
                "install the same one"
            )
        folder = self.folder / digest
        path = folder / f"{module}.py"
        if _digest_of(path) != digest:
            source = self._download(code, module, digest)
            publish(self.folder, path, lambda temporary: _write(temporary, source))
        return folder

    def _download(self, code: UserCode, module: str, digest: str) -> bytes:
        if self.bucket is None or self.signer.key is None:
            raise ModuleMissing(_missing(code, module, digest))
        try:
            body, _ = client_of(self.bucket).read(object_key(digest), LARGEST_OBJECT)
            return _opened(body, module, digest, self.signer)
        except ObjectMissing:
            raise ModuleMissing(_missing(code, module, digest)) from None
        except (ObjectTooLarge, ValueError) as error:
            raise ModuleMissing(
                f"{code.kind} {code.name[:80]!r}: its published module is refused: {error}: publish it again with: "
                f"tradeschool strategy publish {code.name[:80]}"
            ) from None


def publish_module(client: ObjectClient, signer: Signer, module: str, source: bytes) -> tuple[str, bool]:
    """Write a module's source to the bucket; return its digest, and whether it was not there yet."""
    digest = sha256(source).hexdigest()
    content = json.dumps({"module": module, "sha256": digest, "source": source.decode()})
    try:
        client.create(object_key(digest), signer.sign("strategy", module, content).encode())
    except ObjectChanged:
        return digest, False
    return digest, True


def readable_source(module: str) -> bytes:
    """Return the source of a module of one file, without importing it.

    Raises:
        SettingsError: if there is none, or it is a package, too large or no text.
    """
    path = source_path(module) if MODULE.fullmatch(module) else None
    if path is None:
        raise SettingsError(
            f"module {module[:80]!r}: expected a file {module[:64]}.py in the current folder; install a package on "
            "each machine instead"
        )
    try:
        source = path.read_bytes()
        source.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if len(source) > LARGEST_SOURCE:
        raise SettingsError(f"{path}: {len(source):,} bytes, expected at most {LARGEST_SOURCE:,}")
    return source


def module_digests(levels: Collection[Level]) -> dict[str, str]:
    """Return the digest of each user's module in the current folder, for the digests of a batch."""
    modules = dict.fromkeys(module_of(code.name) for code in user_code(levels))
    found = {module: _digest_of(source_path(module)) for module in modules if MODULE.fullmatch(module)}
    return {f"{PREFIX}{module}": digest for module, digest in found.items() if digest}


def module_of(name: str) -> str:
    """Return the module of `module:NAME`."""
    return name.partition(":")[0]


def source_path(module: str) -> Path | None:
    """Return the file of a module in the current folder, None if there is none."""
    path = Path.cwd() / f"{module}.py"
    return path if path.is_file() and not _is_installed(module) else None


def object_key(digest: str) -> str:
    """Return the key of a published module."""
    return f"strategies/{digest}.json"


def _opened(body: bytes, module: str, digest: str, signer: Signer) -> bytes:
    """Return the source in a signed object.

    Raises:
        ValueError: if the signature is missing or wrong, or it contains another module.
    """
    match signer.check("strategy", module, body):
        case {"module": str(name), "sha256": str(), "source": str(source), **rest} if name == module and not rest:
            content = source.encode()
            if len(content) <= LARGEST_SOURCE and sha256(content).hexdigest() == digest:
                return content
    raise ValueError(f"it does not contain module {module} with sha256 {digest[:12]}...")


def _missing(code: UserCode, module: str, digest: str = "") -> str:
    which = f" (sha256 {digest[:12]}...)" if digest else ""
    return (
        f"{code.kind} {code.name[:80]!r}: this worker has no module {module[:64]!r}{which}: copy {module[:64]}.py "
        f"to its working folder, or set data_dir to a bucket and work.signing_key on all machines and run: "
        f"tradeschool strategy publish {code.name[:80]}"
    )


def _digest_of(path: Path | None) -> str | None:
    try:
        return sha256(path.read_bytes()).hexdigest() if path else None
    except OSError:
        return None


def _is_installed(module: str) -> bool:
    """Return whether a module of that name is found without the current folder; nothing is imported."""
    # The finders are asked themselves: `importlib.util.find_spec` would return what this process has imported.
    specs = (finder.find_spec(module, None) for finder in sys.meta_path)
    found = next((spec for spec in specs if spec), None)
    return found is not None and (found.origin is None or Path(found.origin).parent != Path.cwd())


def _write(path: Path, source: bytes) -> None:
    path.write_bytes(source)
