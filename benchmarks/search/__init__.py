"""What time to think buys: stepmath and Game of 24."""
