"""Whole checkpoints of other projects: parameters, model, tokenizer and task, read and written."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig, TokenizerConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.interop import files, google_tf, huggingface, transfer
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import load, wordpiece
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.wordpiece import WordPiece

CHECKPOINT_NAME = 'model.ckpt'  # of Google's files


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in our terms."""

    params: Mapping[str, Tree]  # NumPy arrays, float32, without the parts that the source lacks
    model: ModelConfig
    tokenizer: Tokenizer | None = None  # None: it comes without one
    task: str | None = None  # the kind of task that a `task_head` is for
    labels: Sequence[str] | None = None  # of its outputs, where they are recorded
    objective: str = 'electra'  # or 'mlm': what trains such parameters
    report: Report = dataclasses.field(default_factory=Report)  # of reading it
    about: dict[str, Any] | None = None  # what a checkpoint of ours records about itself


def read_google(
    path: str | pathlib.Path,
    vocab: str | pathlib.Path | None = None,
    lower_case: bool | None = None,
    num_heads: int | None = None,
) -> Checkpoint:
    """Reads a TensorFlow checkpoint of google-research/electra.

    Args:
        path: its folder, or its prefix.
        vocab: the vocab.txt; None: the one in the folder or in the folder above.
        lower_case: whether text is lower-cased; None: if no piece has a capital letter.
        num_heads: as in `model_from_variables`.
    """
    path = pathlib.Path(path)
    variables = google_tf.read_checkpoint(path)
    model = google_tf.model_from_variables(variables, num_heads)
    folder = path if path.is_dir() else path.parent
    near = (folder / 'vocab.txt', folder.parent / 'vocab.txt')
    file = vocab or next((one for one in near if one.is_file()), None)
    tokenizer, notes = _google_tokenizer(file, lower_case) if file else (None, [])
    size = tokenizer.vocab_size if tokenizer else None
    params, report = google_tf.params_from_variables(variables, model, size)
    report.notes += notes
    objective = _objective(model, params)
    return Checkpoint(params, model, tokenizer, objective=objective, report=report)


def _google_tokenizer(
    file: str | pathlib.Path, lower_case: bool | None
) -> tuple[WordPiece, list[str]]:
    notes = []
    if lower_case is None:
        # Special pieces such as [CLS] do not count.
        pieces = [piece for piece in wordpiece.read_vocab(file) if not piece.startswith('[')]
        lower_case = all(piece == piece.lower() for piece in pieces)
        found, done = ('no', 'lower-cased') if lower_case else ('some', 'not lower-cased')
        notes.append(
            f'vocab.txt holds {found} capital letters: text is {done} (--lower_case overrides this)'
        )
    return WordPiece.from_file(TokenizerConfig(path=str(file), lower_case=lower_case)), notes


def _objective(model: ModelConfig, params: Mapping[str, Tree]) -> str:
    is_language = 'generator_head' in params and 'discriminator_head' not in params
    return 'mlm' if model.generator == 'tied' and is_language else 'electra'


def recorded(about: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], Tokenizer]:
    """The model, field by field, and the tokenizer that the checkpoint `where` of ours records."""
    try:
        stored, tokenizer = about['config']['model'], about['tokenizer']
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not name its model or tokenizer ({error!r}): it is not a '
            'checkpoint of this program, or is damaged'
        ) from error
    resolve.check_stored_model(stored, where)
    return stored, load.from_json(tokenizer, f'the tokenizer of {where}')


def read_huggingface(path: str | pathlib.Path) -> Checkpoint:
    """Reads a folder of transformers' Electra classes, or a discriminator/ and a generator/."""
    path = pathlib.Path(path)
    networks = files.read(path)
    tokenizer, notes = _huggingface_tokenizer([path, *(path / role for role in networks)])
    size = tokenizer.vocab_size if tokenizer else None
    params, model, report = huggingface.params_from_networks(networks, size)
    report.notes += notes
    task, labels = None, None
    if 'task_head' in params:
        C = len(params['task_head']['output']['bias'])
        task, labels = huggingface.task_of(next(iter(networks.values())), C)
    return Checkpoint(params, model, tokenizer, task, labels, _objective(model, params), report)


def _huggingface_tokenizer(
    folders: Sequence[pathlib.Path],
) -> tuple[Tokenizer | None, list[str]]:
    """The one tokenizer that all folders hold that have any, and notes about it."""
    tokenizers: dict[str, Tokenizer] = {}
    notes: list[str] = []
    for folder in folders:
        tokenizer, more = huggingface_tokenizer.read_tokenizer(folder)
        if tokenizer:
            tokenizers[str(folder)] = tokenizer
            notes += more
    if len({tokenizer.hash for tokenizer in tokenizers.values()}) > 1:
        raise CheckpointError(
            f'{" and ".join(tokenizers)} hold different tokenizers: a model has one tokenizer'
        )
    return next(iter(tokenizers.values()), None), notes


def write_google(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes Google's files into a folder, which is made; the arguments are those of `WRITERS`."""
    tokenizer = _checked(checkpoint, "Google's code")
    variables, report = google_tf.variables_from_params(checkpoint.params, tokenizer.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    google_tf.write_checkpoint(folder / CHECKPOINT_NAME, variables)
    tokenizer.write_native(folder)
    return report


def write_huggingface(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes a folder of transformers, which is made; the arguments are those of `WRITERS`."""
    tokenizer = _checked(checkpoint, 'transformers')
    networks, report = huggingface.networks_from_params(
        checkpoint.params,
        checkpoint.model,
        tokenizer.vocab_size,
        tokenizer.special.pad,
        checkpoint.task,
        checkpoint.labels,
    )
    for role, network in networks.items():
        inside = folder / role if len(networks) > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        # First, because it may be refused.
        longest = network.config['max_position_embeddings']
        huggingface_tokenizer.write_tokenizer(tokenizer, inside, longest)
        files.write_network(inside, network)
    return report


def _checked(checkpoint: Checkpoint, target: str) -> Tokenizer:
    """The tokenizer of a checkpoint that can be written; nothing has been written before."""
    assert checkpoint.tokenizer is not None  # `convert` has looked
    transfer.check_block(checkpoint.model, target)
    return checkpoint.tokenizer


# The projects whose checkpoints can be read and written. To add one: two functions, two rows.
READERS: dict[str, Callable[..., Checkpoint]] = {
    'google': read_google,
    'huggingface': read_huggingface,
}
# (a folder that is new or empty, the checkpoint, with a tokenizer) -> what was written.
WRITERS: dict[str, Callable[[pathlib.Path, Checkpoint], Report]] = {
    'google': write_google,
    'huggingface': write_huggingface,
}
