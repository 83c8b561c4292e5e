"""Caches of keys and values: of running sequences, of known prefixes, on disk."""
