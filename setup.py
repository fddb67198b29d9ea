"""Installs electra_jax; its metadata and the settings of its tools are in pyproject.toml."""

from setuptools import setup

setup()
