"""The door to ONNX Runtime: sessions, bound arrays, providers, edits of the graph."""
