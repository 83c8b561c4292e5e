"""Path of the model in the wheel, in a separate module so that importing it loads nothing else."""

from pathlib import Path
from typing import Final

BUNDLED_MODEL: Final = Path(__file__).parent / "assets" / "storyteller"
