"""Installs electra_jax; its metadata and the settings of its tools are in pyproject.toml.

A wheel also holds the recipes of configs/, as electra_jax/recipes, where `--config=configs/...`
finds them.
"""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class WithRecipes(build_py):
    """Adds the recipes to what is built, but for an editable install."""

    def run(self) -> None:
        """Copies the package, then the recipes."""
        super().run()
        if not self.editable_mode:
            target = pathlib.Path(self.build_lib) / 'electra_jax' / 'recipes'
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree('configs', target, ignore=shutil.ignore_patterns('__pycache__'))


setup(cmdclass={'build_py': WithRecipes})
