"""What pyproject.toml cannot say about the build: the sample shop goes into the wheel, for `pinembed demo`."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHOP = ("metadata.csv", "images/*.webp")


class BuildWithShop(build_py):
    """Copy sample_images/ of the source tree to pinembed/sample_images/ of the wheel; git keeps it once."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the demo finds the shop of the source tree
            return
        for target, source in self._shop().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target, preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._shop()]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *self._shop().values()]

    def _shop(self) -> dict[str, str]:
        files = sorted(file for pattern in SHOP for file in Path("sample_images").glob(pattern))
        return {str(Path(self.build_lib, "pinembed", file)): str(file) for file in files}


setup(cmdclass={"build_py": BuildWithShop})
