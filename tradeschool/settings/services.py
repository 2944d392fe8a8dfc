"""Settings of the two shared services: credentials and TLS files of Redis and PostgreSQL, and connection pools.

They complete `redis_url` and `storage_url`. What a URL says itself has precedence over these settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import Field

from tradeschool.errors import SettingsError
from tradeschool.settings.redis_address import SENTINEL_PASSWORD, SENTINEL_SCHEMES, TLS_SCHEMES
from tradeschool.settings.sections import Positive, Section, UserPath, secret_of
from tradeschool.settings.urls import mask_url

POOL_SIZE, POOL_WAIT, POOL_RECYCLE = "pool_size", "pool_wait_seconds", "pool_recycle_seconds"
"""Options of `storage_url` that `optimizer.search.database` takes out of the URL before it connects."""


class RedisSettings(Section):
    """Credentials and TLS files of the server in `redis_url`."""

    password_file: UserPath | None = None
    """File that contains only the password of the user in `redis_url`."""
    sentinel_password_file: UserPath | None = None
    """File that contains only the password of the sentinels."""
    ca_file: UserPath | None = None
    """CA certificates (PEM) that the server's certificate is checked against; unset uses those of the system."""
    cert_file: UserPath | None = None
    """Client certificate (PEM), for a server that asks for one."""
    key_file: UserPath | None = None
    """Private key (PEM) of the client certificate."""

    def complete(self, url: str) -> str:
        """Return the URL with the password and the files of these settings.

        Raises:
            SettingsError: A file cannot be read, or the URL has no use for it.
        """
        scheme = urlsplit(url).scheme
        files = _files("redis", {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file})
        if files and scheme not in TLS_SCHEMES:
            raise SettingsError(
                f"redis.{next(iter(files))} needs TLS, but redis_url is {mask_url(url)}: write rediss://, or "
                "rediss-sentinel:// with sentinels"
            )
        names = {"ca_file": "ssl_ca_certs", "cert_file": "ssl_certfile", "key_file": "ssl_keyfile"}
        options = {names[name]: path for name, path in files.items()}
        password = secret_of("redis.password", None, self.password_file)
        if (secret := secret_of("redis.sentinel_password", None, self.sentinel_password_file)) is not None:
            if scheme not in SENTINEL_SCHEMES:
                raise SettingsError(
                    f"redis.sentinel_password_file needs redis-sentinel://, but redis_url is {mask_url(url)}"
                )
            options[SENTINEL_PASSWORD] = secret
        if scheme == "unix" and password is not None:
            options["password"] = password
            password = None
        return _with_options(_with_password(url, password), options)


class DatabaseSettings(Section):
    """Credentials, TLS files and connection pool of the PostgreSQL server in `storage_url`."""

    password_file: UserPath | None = None
    """File that contains only the password of the user in `storage_url`."""
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """TLS of PostgreSQL, as libpq names it; unset means `verify-full` with `ca_file`, and `prefer` without."""
    ca_file: UserPath | None = None
    """CA certificates (PEM) that the server's certificate is checked against."""
    cert_file: UserPath | None = None
    """Client certificate (PEM), for a server that asks for one."""
    key_file: UserPath | None = None
    """Private key (PEM) of the client certificate; other users must not be able to read it."""
    pool_size: Annotated[int, Field(ge=1, le=100)] | None = None
    """Connections of a process that stay open; unset means SQLAlchemy's default of 5."""
    pool_wait_seconds: Positive | None = None
    """Time that a step waits for a free connection; unset means 30."""
    pool_recycle_seconds: Annotated[int, Field(gt=0)] | None = None
    """Age after which an idle connection is replaced, for firewalls that drop idle connections; unset means never."""

    def complete(self, url: str) -> str:
        """Return the URL with the password, files and pool options of these settings.

        Raises:
            SettingsError: A file cannot be read, or the URL is not that of PostgreSQL.
        """
        files = _files("database", {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file})
        names = {"ca_file": "sslrootcert", "cert_file": "sslcert", "key_file": "sslkey"}
        options = {names[name]: path for name, path in files.items()}
        if mode := self.sslmode or ("verify-full" if "ca_file" in files else None):
            options["sslmode"] = mode
        pool = {POOL_SIZE: self.pool_size, POOL_WAIT: self.pool_wait_seconds, POOL_RECYCLE: self.pool_recycle_seconds}
        options |= {name: f"{value:g}" for name, value in pool.items() if value is not None}
        password = secret_of("database.password", None, self.password_file)
        if (options or password) and not url.startswith("postgresql"):
            raise SettingsError(
                f"[database] settings are those of PostgreSQL, but storage_url is {mask_url(url)}: set storage_url to "
                "postgresql+psycopg://USER@HOST/DATABASE, or remove them"
            )
        return _with_options(_with_password(url, password), options)


def _files(section: str, paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Return the given files by setting; a file that cannot be read is an error now, not at the first connection."""
    given = {name: path for name, path in paths.items() if path is not None}
    for name, path in given.items():
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{section}.{name}: cannot read {path}: {error.strerror}") from None
    if ("cert_file" in given) != ("key_file" in given):
        raise SettingsError(f"{section}.cert_file and {section}.key_file belong together: set both, or neither")
    return {name: str(path.absolute()) for name, path in given.items()}


def _with_password(url: str, password: str | None) -> str:
    scheme, separator, rest = url.partition("://")
    authority = urlsplit(url).netloc
    user, _, hosts = authority.rpartition("@")
    if password is None or ":" in user:
        return url
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{hosts}{rest.removeprefix(authority)}"


def _with_options(url: str, options: Mapping[str, str]) -> str:
    """Return the URL with more query options; those that it has already stay."""
    known = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    added = urlencode({name: value for name, value in options.items() if name not in known}, quote_via=quote)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
