"""One small engine of each profile for all tests of the runtime."""

import pytest

from gpt2edge import Engine
from tests.runtime.models import make_engine


@pytest.fixture(scope="session", params=["cpu", "portable"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Random weights, a byte-level tokenizer, a context of 1,024; with either kind of cache."""
    return make_engine(tmp_path_factory.mktemp("engine"), profile=request.param)
