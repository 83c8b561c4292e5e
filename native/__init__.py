"""Kernels of our own: their sources, the program that builds them, and the library's entry."""
