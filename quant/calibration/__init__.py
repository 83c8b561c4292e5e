"""Calibration: activation statistics, outliers and sensitivity, from a text or the weights."""
