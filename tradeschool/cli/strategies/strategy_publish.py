"""`tradeschool strategy publish`: write a strategy's module to the bucket, for workers that lack it."""

import click

from tradeschool.app.context import load_settings
from tradeschool.cli.options.output import json_option
from tradeschool.errors import SettingsError
from tradeschool.object_storage.client import ObjectClient
from tradeschool.views.terminal import print_json, say
from workers.connection.signing import Signer
from workers.isolation.published_modules import module_of, publish_module, readable_source


@click.command()
@click.argument("strategy_name", metavar="MODULE:NAME")
@json_option
def publish(strategy_name: str, *, as_json: bool) -> None:
    """Publish the module of a strategy to workers.

    The source of MODULE is signed with work.signing_key and stored in the bucket of data_dir under its digest. A
    worker with the same key that lacks the module fetches it, if its work.strategies names MODULE:NAME. The module
    must be one file in the current folder; it is not imported.
    """
    settings = load_settings()
    module, separator, _ = strategy_name.partition(":")
    if not separator:
        raise SettingsError(f"strategy {strategy_name!r}: expected module:NAME; built-in ones are on every worker")
    bucket, key = settings.data_location().bucket, settings.work.key()
    if bucket is None:
        raise SettingsError(f"data_dir {settings.data_root}: expected a bucket such as s3://bucket/prefix")
    if key is None:
        raise SettingsError("work.signing_key is not set: set the same key, or work.signing_key_file, on all machines")
    source = readable_source(module_of(strategy_name))
    digest, is_new = publish_module(ObjectClient(bucket), Signer(key), module, source)
    if as_json:
        print_json({"module": module, "sha256": digest, "bytes": len(source), "new": is_new})
        return
    say(f"{module}: {len(source):,} bytes, sha256 {digest}, {'published' if is_new else 'was already published'}")
    say(f"workers that may import it: tradeschool worker start --strategy {strategy_name}")
