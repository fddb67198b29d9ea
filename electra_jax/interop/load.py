"""Opens checkpoints of other projects as ours: parameters, model, tokenizer, and what was found."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError, unknown
from electra_jax.core.trees import Tree
from electra_jax.interop import files, google_tf, huggingface
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import wordpiece
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.wordpiece import WordPiece


class Loaded(NamedTuple):
    """A checkpoint in our terms."""

    params: dict[str, Tree]  # NumPy arrays, float32; parts that the source lacks are not there
    model: ModelConfig  # resolved
    objective: str  # what trains such parameters: 'electra' or 'mlm'
    tokenizer: Tokenizer | None  # None: there is none beside the checkpoint
    task: str | None  # what a `task_head` is for
    labels: list[str] | None  # of its outputs
    report: Report
    about: dict[str, Any] | None = None  # what a checkpoint of ours says of itself


def load_foreign(
    kind: str,
    path: str | pathlib.Path,
    vocab: str | pathlib.Path | None = None,
    lower_case: bool | None = None,
    model: ModelConfig | None = None,
) -> Loaded:
    """Reads a checkpoint of another project.

    Args:
        kind: a key of `LOADERS`.
        path: of the checkpoint: a folder, or a TensorFlow prefix.
        vocab: Google: the vocab.txt, where it is not beside the checkpoint.
        lower_case: Google: whether its text is lower-cased; None: whether its pieces are.
        model: Google: resolved settings, where the shapes of the variables do not tell them.

    Raises:
        UserError: the checkpoint is damaged, or of a model that ours cannot be.
    """
    if kind not in LOADERS:
        raise unknown('the kind of checkpoint', kind, LOADERS)
    return LOADERS[kind](pathlib.Path(path), vocab, lower_case, model)


def _load_google(
    path: pathlib.Path,
    vocab: str | pathlib.Path | None,
    lower_case: bool | None,
    model: ModelConfig | None,
) -> Loaded:
    variables = google_tf.read_checkpoint(path)
    model = model or google_tf.model_from_variables(variables)
    file = pathlib.Path(vocab) if vocab else _vocab_beside(path)
    tokenizer, notes = _google_tokenizer(file, lower_case) if file else (None, [])
    size = tokenizer.vocab_size if tokenizer else None
    params, report = google_tf.params_from_variables(variables, model, size)
    report.notes += notes
    is_language = model.generator == 'tied' and 'discriminator_head' in report.missing
    objective = 'mlm' if is_language else 'electra'
    return Loaded(params, model, objective, tokenizer, None, None, report)


def _load_huggingface(
    path: pathlib.Path,
    vocab: str | pathlib.Path | None,
    lower_case: bool | None,
    model: ModelConfig | None,
) -> Loaded:
    if vocab or lower_case is not None or model:
        raise CheckpointError(
            'a Hugging Face folder says itself what its vocabulary and its model are: leave out '
            '--vocab, --lower_case and --config'
        )
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


# Projects whose checkpoints can be read. A choice between implementations: add a row.
LOADERS: dict[str, Callable[..., Loaded]] = {
    'google': _load_google,
    'huggingface': _load_huggingface,
}


def _vocab_beside(path: pathlib.Path) -> pathlib.Path | None:
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
            f'{"" if lower_case else "not "}lower-cased (--lower_case says otherwise)'
        )
    return WordPiece.from_file(file, lower_case, None), notes


def _has_capitals(vocab: list[str]) -> bool:
    """Whether ordinary pieces do; special ones, such as [CLS], stand in brackets."""
    return any(piece != piece.lower() and not piece.startswith('[') for piece in vocab)


def _huggingface_tokenizer(
    path: pathlib.Path, roles: tuple[str, ...]
) -> tuple[Tokenizer | None, list[str]]:
    """The tokenizer of a folder, or the one that both its subfolders hold."""
    found: dict[str, Tokenizer] = {}
    notes: list[str] = []
    for folder in (path, *(path / role for role in roles)):
        if folder.is_dir():
            tokenizer, more = huggingface_tokenizer.read_tokenizer(folder)
            if tokenizer:
                found[str(folder)] = tokenizer
                notes += [note for note in more if note not in notes]
    if len({tokenizer.hash for tokenizer in found.values()}) > 1:
        raise CheckpointError(f'{" and ".join(found)} hold different tokenizers: one model has one')
    return next(iter(found.values()), None), notes
