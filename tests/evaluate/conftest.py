"""One small engine of each profile for all tests of the measures."""

from tests.runtime.conftest import engine

__all__ = ["engine"]
