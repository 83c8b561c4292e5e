"""``python -m gpt2edge``."""

from gpt2edge.cli.main import main

if __name__ == "__main__":
    main()
