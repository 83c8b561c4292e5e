"""One small engine for all search tests: random weights, so every text is nonsense."""

import pytest

from gpt2edge import Engine, RuntimeOptions
from tests.runtime.models import make_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A byte-level model of 1,024 positions."""
    options = RuntimeOptions(threads=1)  # so small that a second thread only waits
    return make_engine(tmp_path_factory.mktemp("search"), options=options)
