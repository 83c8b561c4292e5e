"""Interface to ONNX Runtime: sessions, bound arrays, execution providers, graph edits."""
