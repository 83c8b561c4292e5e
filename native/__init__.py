"""The library of kernels of our own, and what runs of it here."""
