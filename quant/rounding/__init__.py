"""From float weights to few bits."""
