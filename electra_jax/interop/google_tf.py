"""Checkpoints of google-research/electra: variables by name, and TensorFlow's files.

Only `read_checkpoint` and `write_checkpoint` need TensorFlow. The other functions work on a mapping
of variable name to NumPy array; both directions keep every bit.
"""

import glob
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core import untrusted
from electra_jax.core.errors import CheckpointError, UserError, first_line
from electra_jax.core.trees import Tree
from electra_jax.interop import names, transfer
from electra_jax.interop.names import Part
from electra_jax.interop.sizes import TIED, model_of, parts_of
from electra_jax.interop.transfer import Arrays, Report

_WORDS = 'embeddings/word_embeddings'


def params_from_variables(
    variables: Arrays, model: ModelConfig, vocab_size: int | None = None
) -> tuple[dict[str, Tree], Report]:
    """Our parameters from Google's variables; Adam's moments and the step are ignored.

    Args:
        variables: by name, as `read_checkpoint` gives them.
        model: of the parameters, such as `model_from_variables` finds it.
        vocab_size: tokens of the vocabulary; the rows of the word table if not given.

    Returns:
        The parameters, float32, and a report: parts that the source lacks are named there (the
        released checkpoints lack the discriminator's head) and are not in the tree.
    """
    if vocab_size is None:
        vocab_size = len(_matrix(variables, f'electra/{_WORDS}'))
    return transfer.read_parts(variables, _parts(parts_of(model)), model, vocab_size)


def variables_from_params(
    params: Mapping[str, Tree], vocab_size: int
) -> tuple[dict[str, np.ndarray], Report]:
    """Google's variables of our parameters, float32, by name, and a report of what was left out.

    Disentangled embeddings are written out; rows that pad the vocabulary are not written.
    """
    kept, report = transfer.keep_expressible(params, "Google's code")
    if kept.pop('task_head', None):
        report.left_out['task_head'] = "Google's heads of fine-tuned tasks have other shapes"
    if 'generator_ltr' in kept and 'generator_embeddings' in kept:
        raise CheckpointError(
            "generator_embeddings and two towers: in Google's code each tower then has a "
            'table of its own, so this model cannot be converted'
        )
    variables, report.moved = transfer.write_parts(kept, _parts(set(kept)), vocab_size)
    return variables, report


def _parts(present: set[str]) -> list[Part]:
    """The parts of these names, with their scopes."""
    parts = {part.ours: part for part in names.GOOGLE_PARTS if part.ours in present}
    if 'generator_ltr' in parts and 'generator_head' in parts:
        head = parts['generator_head']
        parts['generator_head'] = head._replace(prefix=names.TWO_TOWER_SCOPE)
    return list(parts.values())


def model_from_variables(variables: Arrays, num_heads: int | None = None) -> ModelConfig:
    """The model of a checkpoint, from the shapes of its variables.

    Args:
        variables: by name, as `read_checkpoint` gives them.
        num_heads: the discriminator's, which no shape shows; None: by the reference's rule, one for
            each 64 of the width. The generator's heads have the same width.
    """
    word_VE = _matrix(variables, f'electra/{_WORDS}')
    main = _encoder_shape(variables, 'electra/', num_heads)
    scopes = {name.split('/')[0] for name in variables}
    generator = 'separate'
    if 'generator_ltr' in scopes:
        generator = 'two_tower'
    elif 'generator_predictions' in scopes and 'generator' not in scopes:
        generator = 'tied'
    settings: dict[str, Any] = {
        'embedding_size': word_VE.shape[-1],
        'max_positions': len(_matrix(variables, 'electra/embeddings/position_embeddings')),
        'type_vocab_size': len(_matrix(variables, 'electra/embeddings/token_type_embeddings')),
        **(TIED if generator == 'tied' else {'generator': generator}),
    }
    if f'generator/{_WORDS}' in variables:
        own_VE = _matrix(variables, f'generator/{_WORDS}')
        settings |= {'embedding_sharing': 'untied', 'generator_embedding_size': own_VE.shape[-1]}
    scope = 'generator_ltr/' if generator == 'two_tower' else 'generator/'
    small = None
    if scope[:-1] in scopes:
        small = _encoder_shape(variables, scope, head_size=main.head_size)
    return model_of(main, settings, small, scope)


def _encoder_shape(
    variables: Arrays,
    scope: str,
    num_heads: int | None = None,
    head_size: int = resolve.HEAD_SIZE,
) -> EncoderShape:
    num_layers = transfer.count_layers(variables, scope)
    query = _matrix(variables, f'{scope}encoder/layer_0/attention/self/query/kernel')
    up = _matrix(variables, f'{scope}encoder/layer_0/intermediate/dense/kernel')
    hidden_size = query.shape[1]
    num_heads = num_heads or max(1, hidden_size // head_size)
    if hidden_size % num_heads:
        raise CheckpointError(
            f'{scope}encoder is {hidden_size} wide, which does not divide into {num_heads} heads: '
            'give their number with convert --num_heads=N'
        )
    return EncoderShape(num_layers, hidden_size, up.shape[1], num_heads)


def _matrix(variables: Arrays, name: str) -> np.ndarray:
    """A variable from whose shape sizes are read."""
    if name not in variables:
        raise CheckpointError(
            f"there is no variable {name} in the source: it is not an ELECTRA of Google's code"
        )
    if variables[name].ndim != 2 or not variables[name].size:
        raise CheckpointError(
            f'{name} has shape {list(variables[name].shape)}, but it must be a matrix'
        )
    return variables[name]


def read_checkpoint(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """All variables of a TensorFlow checkpoint (V2 files), by name.

    `path` is its prefix (`.../model.ckpt-1000`), its .index file, or its folder.
    """
    prefix = find_checkpoint(pathlib.Path(path))
    for file in sorted(prefix.parent.glob(f'{glob.escape(prefix.name)}.*')):
        problem = untrusted.link_problem(file, prefix.parent)
        if problem:
            raise CheckpointError(problem)
    tensorflow = _tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tensorflow.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise CheckpointError(
            f'the TensorFlow checkpoint {prefix} cannot be read: {first_line(error)}; its '
            '.index and .data files belong together and must be whole'
        ) from error


def write_checkpoint(prefix: str | pathlib.Path, variables: Arrays) -> None:
    """Writes a checkpoint that TF1's Saver and Estimator can read, into a folder that exists.

    Its files are `prefix.index`, `prefix.data-00000-of-00001`, and `checkpoint` next to them.
    """
    tensorflow = _tensorflow()
    prefix, found = pathlib.Path(prefix), sorted(variables)
    tensors = [tensorflow.constant(np.asarray(variables[name])) for name in found]
    tensorflow.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=found, shape_and_slices=[''] * len(found), tensors=tensors
    )
    # The name alone: the folder can then be moved.
    state = f'model_checkpoint_path: "{prefix.name}"\nall_model_checkpoint_paths: "{prefix.name}"\n'
    (prefix.parent / 'checkpoint').write_text(state)


def find_checkpoint(path: pathlib.Path) -> pathlib.Path:
    """The prefix of the checkpoint at a path, which is as in `read_checkpoint`.

    In a folder this is the checkpoint of the most steps. The file `checkpoint` there is not
    followed: it may hold the path of the machine that wrote it.
    """
    if path.suffix == '.index':
        path = path.with_suffix('')
    if path.with_name(path.name + '.index').is_file():
        return path
    # Not '.index' alone, which has no prefix.
    found = sorted(path.glob('[!.]*.index')) if path.is_dir() else []
    if not found:
        raise CheckpointError(
            f'there is no TensorFlow checkpoint at {path}: there is no file {path.name}.index, and '
            'no file *.index in a folder of that name; give the folder, or the path up to .index'
        )
    steps = [int(m[1]) for m in (re.search(r'-(\d+)\.index$', one.name) for one in found) if m]
    if len(found) > 1 and len(steps) < len(found):
        raise CheckpointError(
            f'{path} holds several checkpoints ({transfer.listed([one.name for one in found])}): '
            'give the path of one of them'
        )
    newest = found[steps.index(max(steps))] if steps else found[0]
    return newest.with_suffix('')


def _tensorflow() -> Any:
    # Without these TensorFlow prints warnings that do not matter for reading numbers.
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    try:
        import tensorflow
    except ImportError as error:
        raise UserError(
            "Google's checkpoints are read and written with TensorFlow, which is not installed: "
            "type pip install -e '.[tf]'"
        ) from error
    return tensorflow
