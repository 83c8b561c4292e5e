"""The small engine of the search tests, for the tasks as well."""

from tests.runtime.search.conftest import engine

__all__ = ["engine"]
