"""Where the model in the wheel lies; a module of its own, so that asking loads nothing."""

from pathlib import Path
from typing import Final

BUNDLED_MODEL: Final = Path(__file__).parent / "assets" / "storyteller"
