"""Test-time computation: more answers, and a verifier that chooses among them."""
