"""The forward pass of each architecture and profile, as functions that write an ONNX graph."""
