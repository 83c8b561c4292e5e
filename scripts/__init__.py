"""Programs for those who work on gpt2edge; run from the root: ``python -m scripts.link_tree``."""
