import re

import pytest

from tradeschool import errors
from tradeschool.errors import TradeschoolError

DRAWN = dict(re.findall(r"([A-Z]\w+) +(\d) ", errors.__doc__ or ""))
"""Class name to exit code, as the module's docstring draws them."""


def tree(error: type[TradeschoolError]) -> list[type[TradeschoolError]]:
    return [error, *(deeper for child in error.__subclasses__() for deeper in tree(child))]


OWN = {error.__name__: error for error in tree(TradeschoolError) if error.__module__ == errors.__name__}


def test_the_documented_error_tree_is_complete() -> None:
    assert {name: str(error.exit_code) for name, error in OWN.items()} == DRAWN


@pytest.mark.parametrize("error", OWN.values(), ids=OWN)
def test_every_error_documents_when_it_is_raised(error: type[TradeschoolError]) -> None:
    assert error.__doc__


def test_a_rejection_has_the_http_status() -> None:
    assert errors.ProviderRejected("refused", status=404).status == 404
