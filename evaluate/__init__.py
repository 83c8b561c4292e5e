"""How fast a model is, and how far it is from another."""
