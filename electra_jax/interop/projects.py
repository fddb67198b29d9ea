"""Whole checkpoints of other projects: parameters, model, tokenizer and task, read and written."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.interop import (
    files,
    google_tf,
    huggingface,
    own_folder,
    sentence_transformers,
    transfer,
    wordpiece_folder,
)
from electra_jax.interop import tokenizer as huggingface_tokenizer
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.transfer import Report
from electra_jax.tokenizers import wordpiece
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.wordpiece import SETTINGS_FILE, WordPiece

CHECKPOINT_NAME = 'model.ckpt'  # of Google's files
PASSED_ON = 'safetensors'  # the kind of our own checkpoints in one file


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
        lower_case: whether text is lower-cased; None: as a tokenizer_config.json next to the
            vocabulary has it, or as its pieces show.
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
    """The tokenizer of a vocab.txt: as typed, as a settings file next to it has it, or as it shows.

    Google's files do not record how text was normalized.
    """
    file = pathlib.Path(file)
    folder = wordpiece_folder.open_folder(file.parent)._replace(tokenizer_json=None)

    def read(**settings: bool | None) -> tuple[WordPiece, list[str]]:
        changed = folder._replace(settings={**folder.settings, **settings})
        return wordpiece_folder.read(changed, file, wordpiece.MAX_WORD_CHARS)

    as_it_is, _ = read(do_lower_case=False, strip_accents=False)
    always = set(as_it_is.changed())  # control characters, for example
    stated, notes = folder.settings.get('do_lower_case'), []
    if lower_case is not None and stated not in (None, lower_case):
        notes.append(f'do_lower_case is {stated} in {SETTINGS_FILE}; --lower_case overrides it')
        tokenizer, more = read(do_lower_case=lower_case, strip_accents=None)
    elif lower_case is not None or stated is not None:
        tokenizer, more = read(do_lower_case=stated if lower_case is None else lower_case)
    else:
        tokenizer, more = read(do_lower_case=True)
        # A piece that these change proves that text was left as it is.
        proof = next((piece for piece in tokenizer.changed() if piece not in always), None)
        found, done = 'no piece', 'lower-cased, and accents are stripped'
        if proof is not None:
            tokenizer, more = read(do_lower_case=False)
            found, done = f'pieces such as {proof!r}', 'left as it is'
        notes.append(
            f'vocab.txt holds {found} that lower-casing or stripping accents changes: text is '
            f'{done} (--lower_case overrides this)'
        )
    lost = [piece for piece in tokenizer.changed() if piece not in always]
    if lost:
        notes.append(
            f'{len(lost):,} of {tokenizer.vocab_size:,} pieces, such as {lost[0]!r}, can never '
            'come out of text that is normalized so: is --lower_case right?'
        )
    return tokenizer, notes + more


def _objective(model: ModelConfig, params: Mapping[str, Tree]) -> str:
    is_language = 'generator_head' in params and 'discriminator_head' not in params
    return 'mlm' if model.generator == 'tied' and is_language else 'electra'


def read_huggingface(path: str | pathlib.Path) -> Checkpoint:
    """Reads a folder of transformers' classes, or of a discriminator/ and a generator/."""
    path = pathlib.Path(path)
    networks = files.read(path)
    for network in networks.values():
        huggingface.family_of(network)  # refuses others, whose tokenizers are others, too
    tokenizer, where, notes = _huggingface_tokenizer([path, *(path / role for role in networks)])
    size = tokenizer.vocab_size if tokenizer else None
    params, model, report = huggingface.params_from_networks(networks, size)
    report.notes += notes
    task, labels, style, main = None, None, None, next(iter(networks.values()))
    if 'task_head' in params:
        C = len(params['task_head']['output']['bias'])
        task, labels = huggingface.task_of(main, C)
        style = huggingface.head_style(main)
    record = main.config.get(huggingface.RECORD)
    return Checkpoint(
        params,
        model,
        tokenizer,
        task,
        labels,
        _objective(model, params),
        report,
        tokenizer_folder=where,
        record=record.get('task') if isinstance(record, dict) else None,
        head_style=style,
        head_dropout=huggingface.head_dropout(main),
        row_limit=wordpiece_folder.row_limit(wordpiece_folder.open_folder(where or path)),
    )


def _huggingface_tokenizer(
    folders: Sequence[pathlib.Path],
) -> tuple[Tokenizer | None, pathlib.Path | None, list[str]]:
    """The one tokenizer that all folders hold that have any, such a folder, and notes about it."""
    found: dict[pathlib.Path, Tokenizer] = {}
    notes: list[str] = []
    for folder in folders:
        tokenizer, more = huggingface_tokenizer.read_tokenizer(folder)
        if tokenizer:
            found[folder] = tokenizer
            notes += more
    if len({tokenizer.hash for tokenizer in found.values()}) > 1:
        raise CheckpointError(
            f'{" and ".join(map(str, found))} hold different tokenizers: a model has one tokenizer'
        )
    where = next(iter(found), None)
    return (found[where] if where else None), where, notes


def write_google(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes Google's files into a folder, which is made; the arguments are those of `WRITERS`."""
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None  # `convert` has looked
    model = checkpoint.model
    if others := transfer.other_settings(model):
        has = ', '.join(f'config.model.{name}={getattr(model, name)}' for name in others)
        raise CheckpointError(
            f"the model has {has}, but Google's code knows BERT's block only: such a model cannot "
            'be converted'
        )
    variables, report = google_tf.variables_from_params(checkpoint.params, tokenizer.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    google_tf.write_checkpoint(folder / CHECKPOINT_NAME, variables)
    tokenizer.write_native(folder)
    if isinstance(tokenizer, WordPiece):
        others = tokenizer.rules.to_json()
        if tokenizer.strip_accents != tokenizer.lower_case:
            others['strip_accents'] = tokenizer.strip_accents
        if others:
            report.notes.append(
                f"Google's code has no setting for {', '.join(others)} of this tokenizer and gives "
                f'other ids where they matter; {SETTINGS_FILE} keeps them for us, but for '
                'max_word_chars'
            )
    return report


def write_huggingface(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes a folder of transformers, which is made; the arguments are those of `WRITERS`."""
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None  # `convert` has looked
    networks, report = huggingface.networks_from_checkpoint(checkpoint)
    for role, network in networks.items():
        inside = folder / role if len(networks) > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        # First, because it may be refused.
        longest = network.config['max_position_embeddings']
        has_types = huggingface.family_of(network).has_types
        huggingface_tokenizer.write_tokenizer(tokenizer, inside, longest, has_types)
        files.write_network(inside, network, checkpoint.dtype)
    return report


def write_sentence_transformers(folder: pathlib.Path, checkpoint: Checkpoint) -> Report:
    """Writes the encoder as sentence-transformers reads it; the arguments are those of `WRITERS`.

    A text's vector is the mean over its tokens, [CLS] and [SEP] with them: there is no way to leave
    these out.
    """
    encoder = {name: checkpoint.params[name] for name in ('embeddings', 'discriminator')}
    left = sorted(checkpoint.params.keys() - encoder.keys())
    bare = dataclasses.replace(checkpoint, params=encoder, task=None, labels=None, record=None)
    report = write_huggingface(folder, bare)
    report.left_out |= dict.fromkeys(left, 'a model of vectors is its encoder alone')
    report.notes.append(
        'its vectors are means over all tokens, those of `encode` leave out [CLS] and [SEP]: they '
        'differ a little'
    )
    sentence_transformers.write(folder, checkpoint.model)
    return report


# The projects whose checkpoints can be read and written. To add one: two functions, two rows.
READERS: dict[str, Callable[..., Checkpoint]] = {
    'google': read_google,
    'huggingface': read_huggingface,
    PASSED_ON: own_folder.read,
}
# (a folder that is new or empty, the checkpoint, with a tokenizer) -> what was written.
WRITERS: dict[str, Callable[[pathlib.Path, Checkpoint], Report]] = {
    'google': write_google,
    'huggingface': write_huggingface,
    PASSED_ON: own_folder.write,
    'sentence_transformers': write_sentence_transformers,
}
