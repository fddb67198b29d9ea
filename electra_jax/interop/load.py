"""Reads checkpoints of other projects in our terms: parameters, model, tokenizer and a report."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.interop import files, google_tf, huggingface
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import wordpiece
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.wordpiece import WordPiece


class Loaded(NamedTuple):
    """A checkpoint in our terms.

    Attributes:
        params: NumPy arrays, float32, without the parts that the source lacks.
        model: of the parameters.
        objective: the objective that trains such parameters: 'electra' or 'mlm'.
        tokenizer: None where the checkpoint comes without one.
        task: the kind of task that a `task_head` is for; None without one.
        labels: names of the outputs of a `task_head`, where they are recorded.
        report: what was read and what was left out.
        about: what a checkpoint of ours records about itself; None for other projects.
    """

    params: dict[str, Tree]
    model: ModelConfig
    objective: str
    tokenizer: Tokenizer | None
    task: str | None
    labels: list[str] | None
    report: Report
    about: dict[str, Any] | None = None


def load_google(
    path: str | pathlib.Path,
    vocab: str | pathlib.Path | None = None,
    lower_case: bool | None = None,
    model: ModelConfig | None = None,
) -> Loaded:
    """Reads a TensorFlow checkpoint of google-research/electra.

    Args:
        path: its folder, or its prefix.
        vocab: the vocab.txt; None: the one in the folder or in the folder above.
        lower_case: whether text is lower-cased; None: if no piece has a capital letter.
        model: of the parameters; None: the model that the shapes of the variables imply.

    Raises:
        UserError: the checkpoint is damaged, or ours cannot be such a model.
    """
    path = pathlib.Path(path)
    variables = google_tf.read_checkpoint(path)
    model = model or google_tf.model_from_variables(variables)
    file = pathlib.Path(vocab) if vocab else _vocab_near(path)
    tokenizer, notes = _google_tokenizer(file, lower_case) if file else (None, [])
    size = tokenizer.vocab_size if tokenizer else None
    params, report = google_tf.params_from_variables(variables, model, size)
    report.notes += notes
    is_language = model.generator == 'tied' and 'discriminator_head' in report.missing
    objective = 'mlm' if is_language else 'electra'
    return Loaded(params, model, objective, tokenizer, None, None, report)


def load_huggingface(path: str | pathlib.Path) -> Loaded:
    """Reads a folder of transformers' Electra classes, or a discriminator/ and a generator/.

    Raises:
        UserError: the checkpoint is damaged, or ours cannot be such a model.
    """
    path = pathlib.Path(path)
    networks = files.read(path)
    tokenizer, notes = _huggingface_tokenizer(path, tuple(networks))
    size = tokenizer.vocab_size if tokenizer else None
    params, model, report = huggingface.params_from_networks(networks, size)
    report.notes += notes
    is_language = 'generator_head' in params and 'discriminator_head' in report.missing
    objective = 'mlm' if model.generator == 'tied' and is_language else 'electra'
    task, labels = None, None
    if 'task_head' in params:
        task, labels = huggingface.task_of(networks['discriminator'])
    return Loaded(params, model, objective, tokenizer, task, labels, report)


# The projects whose checkpoints can be read. To add one: write a function and add a row.
LOADERS: dict[str, Callable[[str | pathlib.Path], Loaded]] = {
    'google': load_google,
    'huggingface': load_huggingface,
}


def _vocab_near(path: pathlib.Path) -> pathlib.Path | None:
    folder = path if path.is_dir() else path.parent
    return next(
        (f for f in (folder / 'vocab.txt', folder.parent / 'vocab.txt') if f.is_file()), None
    )


def _google_tokenizer(file: pathlib.Path, lower_case: bool | None) -> tuple[WordPiece, list[str]]:
    notes = []
    if lower_case is None:
        lower_case = not _has_capitals(wordpiece.read_vocab(file))
        shown = 'no' if lower_case else 'some'
        notes.append(
            f'{file.name} holds {shown} capital letters: text is '
            f'{"" if lower_case else "not "}lower-cased (--lower_case overrides this)'
        )
    return WordPiece.from_file(file, lower_case, None), notes


def _has_capitals(vocab: list[str]) -> bool:
    # Special pieces such as [CLS] do not count; they stand in brackets.
    return any(piece != piece.lower() and not piece.startswith('[') for piece in vocab)


def _huggingface_tokenizer(
    path: pathlib.Path, roles: tuple[str, ...]
) -> tuple[Tokenizer | None, list[str]]:
    """The tokenizer of a folder, or the one that all its subfolders hold, and notes about it."""
    tokenizers: dict[str, Tokenizer] = {}
    notes: list[str] = []
    for folder in (path, *(path / role for role in roles)):
        if folder.is_dir():
            tokenizer, more = huggingface_tokenizer.read_tokenizer(folder)
            if tokenizer:
                tokenizers[str(folder)] = tokenizer
                notes += [note for note in more if note not in notes]
    if len({tokenizer.hash for tokenizer in tokenizers.values()}) > 1:
        raise CheckpointError(
            f'{" and ".join(tokenizers)} hold different tokenizers: a model has one tokenizer'
        )
    return next(iter(tokenizers.values()), None), notes
