"""Evaluation: the speed of models, and the divergence of one model from another."""
