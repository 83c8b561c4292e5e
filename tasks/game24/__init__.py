"""Game of 24: the game, the notation that models write, and the task for tree search."""
