"""Architectures: the forward pass of each profile, as functions that write an ONNX graph."""
