"""Bucket URLs are checked before anything is requested."""

import pytest

from tradeschool.errors import SettingsError
from tradeschool.object_storage.bucket_url import parse_bucket_url


@pytest.mark.parametrize("text", ["s3://candles/team/one", "gs://candles", "az://candles/x", "s3://candles/team/one/"])
def test_a_url_is_read_and_written(text: str) -> None:
    assert str(parse_bucket_url(text)) == text.rstrip("/")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://candles/x", "scheme 'http'"),
        ("s3://", "bucket ''"),
        ("s3://UPPER/x", "bucket 'UPPER'"),
        ("s3://candles/../x", r"prefix '\.\.'"),
        ("s3://candles/a//b", "prefix ''"),
        ("s3://candles/a b", "prefix 'a b'"),
        ("s3://candles/a?x=1", "prefix 'a"),
    ],
)
def test_an_invalid_url_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_bucket_url(text)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="credentials belong in the environment") as caught:
        parse_bucket_url("s3://key:secret@candles/x")
    assert "secret" not in str(caught.value)


def test_two_urls_have_two_local_folders() -> None:
    names = {
        parse_bucket_url(text).folder_name for text in ("s3://abc/d-e", "s3://abc/d/e", "s3://abc-d/e", "gs://abc/d/e")
    }

    assert len(names) == 4
