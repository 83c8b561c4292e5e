"""What pyproject.toml cannot say: the library of kernels is built for the wheel, and names its tag.

GPT2EDGE_BUILD_TARGET chooses another platform's library (a target of native/compile.py), or none.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

from build_backend import kernels  # scripts/build_backend.py, which runs this file
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

NATIVE = Path(__file__).resolve().parent / "native"
TARGET = os.environ.get("GPT2EDGE_BUILD_TARGET", "")


@lru_cache
def built(folder: Path) -> bool:
    """Build the library in ``folder`` and say how that went; without it the package is whole."""
    library = kernels.build_or_report(folder, TARGET)
    print(f"kernels: {(folder / kernels.REPORT).read_text()}", file=sys.stderr)
    return library is not None


class BuildWithKernels(build_py):
    """Build the package and, into it or for an editable install into the tree, the library."""

    def run(self) -> None:
        """Copy the modules, and build the library."""
        super().run()
        built(NATIVE if self.editable_mode else Path(self.build_lib, "gpt2edge", "native"))


class PlatformWheel(bdist_wheel):
    """A wheel for any Python 3 of one platform; where there is no library, for any platform."""

    def run(self) -> None:
        """Build first: what was built decides the tag."""
        self.run_command("build")
        self.skip_build = True
        if self._has_library():
            self.root_is_pure = False
            self.distribution.has_ext_modules = lambda: True  # installed beside compiled modules
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag: py3, none, and the platform."""
        if not self._has_library():
            return "py3", "none", "any"
        if TARGET:
            return "py3", "none", kernels.TARGETS[TARGET].wheel
        return "py3", "none", kernels.host_tag()

    def _has_library(self) -> bool:
        build = self.get_finalized_command("build_py")
        return built(NATIVE if build.editable_mode else Path(build.build_lib, "gpt2edge", "native"))


setup(cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel})
