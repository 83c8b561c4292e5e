"""What scores a completion or its steps."""
