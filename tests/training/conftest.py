"""The training scripts are no package: their folder joins the path."""

import sys

from tests.conftest import ROOT

sys.path.append(str(ROOT / "training"))
