"""Int8 and int4 variants of an exported model."""
