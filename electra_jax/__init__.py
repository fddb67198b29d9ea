"""ELECTRA pre-training in JAX; ``electra_jax.load(path)`` opens a trained model."""

import os
import typing

if typing.TYPE_CHECKING:
    from electra_jax.inference.loaded import LoadedModel


def load(path: str | os.PathLike[str], batch_size: int = 32) -> 'LoadedModel':
    """Opens a trained model, which encodes, detects, fills masks and predicts.

    Args:
        path: a workdir (of fine-tuning: its best trial), one trial, a checkpoints/ folder, the
            folder of one step, or KIND:PATH of another project's checkpoint:
            ``huggingface:FOLDER``, ``google:FOLDER``; ``safetensors:FOLDER`` that `convert` wrote;
            or ``laptop``, a small model of English that comes with the repository.
        batch_size: rows that are computed together; the number of devices must divide it.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
    """
    from electra_jax.inference import loaded

    return loaded.load(path, batch_size)
