"""The engine over ONNX Runtime: generate, stream, batch, score."""
