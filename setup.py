"""Takes configs/ and pretrained/ into the wheel, inside the package; everything else is in pyproject.toml."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithShipped(build_py):
    """Copies what is shipped beside the package's modules; an editable install finds it where it is."""

    def run(self) -> None:
        super().run()
        for name in ("configs", "pretrained"):
            if (HERE / name).is_dir() and not self.editable_mode:
                copytree(HERE / name, Path(self.build_lib, "vae_simpsons", name), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithShipped})
