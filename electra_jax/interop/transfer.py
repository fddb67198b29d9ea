"""Moves arrays between our tree and the names of another format, by the table of names."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree, count, named_leaves
from electra_jax.interop import names
from electra_jax.interop.names import Part, Row
from electra_jax.interop.sizes import sizes_of
from electra_jax.model.bind import vocab_rows

Arrays = Mapping[str, np.ndarray]  # by name in the other format
_SHOWN = 20  # names listed in an error


class Moved(NamedTuple):
    """A part that went from one format to the other."""

    ours: str
    theirs: str
    arrays: int  # of theirs
    numbers: int


@dataclasses.dataclass
class Report:
    """What a conversion did with everything it saw."""

    moved: list[Moved] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)  # parts of ours, not in the source
    left_out: dict[str, str] = dataclasses.field(
        default_factory=dict
    )  # source's name -> what it is
    notes: list[str] = dataclasses.field(default_factory=list)


def rearrange(x: np.ndarray, source: str, target: str, sizes: Mapping[str, int]) -> np.ndarray:
    """Merges, splits and permutes dimensions; never changes a number.

    Args:
        x: its dimensions are the words of `source`, each one or several letters merged.
        source: letters of `x`, such as ``'D HK'``.
        target: letters of the result, such as ``'HK D'`` or ``'D H K'``.
        sizes: of every letter.

    >>> rearrange(np.arange(4).reshape(2, 2), 'D HK', 'H K D', {'D': 2, 'H': 1, 'K': 2}).tolist()
    [[[0, 2], [1, 3]]]
    """
    letters = source.replace(' ', '')
    x = x.reshape([sizes[letter] for letter in letters])
    x = x.transpose([letters.index(letter) for letter in target.replace(' ', '')])
    return np.ascontiguousarray(x.reshape(shape_of(target, sizes)))


def shape_of(letters: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape that spaced letters stand for: ``'D HK'`` -> (D, H * K)."""
    return tuple(int(np.prod([sizes[letter] for letter in word])) for word in letters.split())


def needed_rows(part: Part, sizes: Mapping[str, int]) -> list[Row]:
    """The rows of a part that a model of these sizes has."""
    projects = sizes['E'] != sizes['D']
    return [row for row in part.rows if projects or not row.ours.startswith('project/')]


def names_there(row: Row, part: Part, kind: str, num_layers: int) -> list[str]:
    """The names that a row has in the other format, one a layer."""
    name = part.prefix + row.theirs[kind].name
    return [name.format(N=layer) for layer in range(num_layers)] if row.stacked else [name]


def read_part(
    arrays: Arrays, part: Part, kind: str, model: ModelConfig, sizes: Mapping[str, int]
) -> Tree | None:
    """A part of our tree from arrays of another format; None where the source has none of it.

    Args:
        arrays: by their names there.
        part: the part, and its prefix there.
        kind: `names.GOOGLE` or `names.HUGGINGFACE`.
        model: of the parameters; says how far the vocabulary is padded (with zeros).
        sizes: of the letters inside this part; V is unpadded.

    Raises:
        CheckpointError: only some of the part is there, or an array has another shape or type.
    """
    rows = needed_rows(part, sizes)
    wanted = [(row, names_there(row, part, kind, sizes['N'])) for row in rows]
    every = [name for _, found in wanted for name in found]
    missing = [name for name in every if name not in arrays]
    if len(missing) == len(every):
        return None
    if missing:
        raise CheckpointError(
            f'the source holds only some of {part.ours}: {listed(missing)} not there. It is '
            'damaged, or its settings (layers, widths) are not those of this model'
        )
    tree: Tree = {}
    for row, found in wanted:
        letters = row.theirs[kind].letters
        layers = [checked(arrays[name], name, shape_of(letters, sizes)) for name in found]
        target = ' '.join(row.letters.removeprefix('N'))
        ours = [rearrange(layer, letters, target, sizes) for layer in layers]
        leaf = np.stack(ours) if row.stacked else ours[0]
        if row.letters.startswith('V'):
            leaf = _pad_rows(leaf, vocab_rows(model, sizes['V']))
        put(tree, row.ours, leaf)
    return tree


def write_part(tree: Tree, part: Part, kind: str, vocab_size: int) -> dict[str, np.ndarray]:
    """A part of our tree as arrays of another format.

    Args:
        tree: the part.
        part: the part, and its prefix there.
        kind: `names.GOOGLE` or `names.HUGGINGFACE`.
        vocab_size: tokens; the rows that pad the vocabulary are left here.

    Raises:
        CheckpointError: the part holds an array that has no name there, or lacks one.
    """
    rows = {row.ours: row for row in part.rows}
    leaves = dict(named_leaves(tree))
    unknown = sorted(set(leaves) - set(rows))
    lacking = [name for name in rows if name not in leaves and not name.startswith('project/')]
    if unknown or lacking:
        what = f'has {listed(unknown)}' if unknown else f'lacks {listed(lacking)}'
        raise CheckpointError(f'{part.ours} {what}, which {part.prefix or kind} cannot express')
    arrays = {}
    for path, leaf in leaves.items():
        row, leaf = rows[path], np.asarray(leaf)
        if row.letters.startswith('V'):
            leaf = leaf[:vocab_size]
        sizes = dict(zip(row.letters, leaf.shape, strict=True))
        letters = row.letters.removeprefix('N')
        found = names_there(row, part, kind, sizes.get('N', 1))
        layers = leaf if row.stacked else leaf[None]
        for name, layer in zip(found, layers, strict=True):
            arrays[name] = rearrange(layer, ' '.join(letters), row.theirs[kind].letters, sizes)
    return arrays


def read_parts(
    arrays: Arrays,
    parts: Sequence[Part],
    kind: str,
    model: ModelConfig,
    vocab_size: int,
    num_labels: int = 1,
) -> tuple[dict[str, Tree], Report]:
    """All parts of the source; every array of the source is accounted for.

    Args:
        arrays: by their names in the source.
        parts: the parts that the source may hold.
        kind: `names.GOOGLE` or `names.HUGGINGFACE`.
        model: of the parameters.
        vocab_size: tokens, unpadded.
        num_labels: outputs of a `task_head`.

    Raises:
        CheckpointError: an array that no row names, or a part that does not fit the model.
    """
    params, report, used = {}, Report(), set()
    for part in parts:
        sizes = sizes_of(model, part.ours, vocab_size, num_labels)
        tree = read_part(arrays, part, kind, model, sizes)
        if tree is None:
            report.missing.append(part.ours)
            continue
        rows = needed_rows(part, sizes)
        found = [name for row in rows for name in names_there(row, part, kind, sizes['N'])]
        used.update(found)
        params[part.ours] = tree
        report.moved.append(Moved(part.ours, part.prefix, len(found), count(tree)))
    report.left_out = ignorable(set(arrays) - used, kind)
    return params, report


def write_parts(
    params: Mapping[str, Tree], parts: Sequence[Part], kind: str, vocab_size: int
) -> tuple[dict[str, np.ndarray], Report]:
    """The given parts of our tree as arrays of another format, and what was moved."""
    arrays, report = {}, Report()
    for part in parts:
        if part.ours in params:
            given = write_part(params[part.ours], part, kind, vocab_size)
            numbers = sum(x.size for x in given.values())
            report.moved.append(Moved(part.ours, part.prefix, len(given), numbers))
            arrays.update(given)
    return arrays, report


def ignorable(left: Iterable[str], kind: str) -> dict[str, str]:
    """What each name is that no row of the table has.

    Raises:
        CheckpointError: some names are unknown; all of them are listed.
    """
    found, unknown = {}, []
    for name in sorted(left):
        what = next((w for p, w in names.IGNORED[kind].items() if re.fullmatch(p, name)), None)
        if what is None:
            unknown.append(name)
        else:
            found[name] = what
    if unknown:
        raise CheckpointError(
            'the source holds arrays that are not those of ELECTRA: '
            f'{listed(unknown)}. Nothing was converted: remove them from it if they do not matter'
        )
    return found


def crop_vocabulary(
    arrays: Arrays, parts: Sequence[Part], kind: str, vocab_size: int
) -> tuple[dict[str, np.ndarray], str | None]:
    """The arrays without rows for tokens that the vocabulary does not have, and a note about it.

    Raises:
        CheckpointError: the vocabulary has more tokens than the word table has rows.
    """
    cropped, note = dict(arrays), None
    for part in parts:
        for row in part.rows:
            name = part.prefix + row.theirs[kind].name
            if not row.letters.startswith('V') or name not in arrays:
                continue
            if not np.ndim(arrays[name]):
                raise CheckpointError(f'{name} is a single number, allowed: a row for each token')
            rows = len(arrays[name])
            if rows < vocab_size:
                raise CheckpointError(
                    f'{name} has {rows} rows, but the vocabulary has {vocab_size} tokens: this '
                    'is not the vocabulary of this model'
                )
            if rows > vocab_size:
                note = f'rows {vocab_size} to {rows - 1} of {name} have no token: left out'
                cropped[name] = arrays[name][:vocab_size]
    return cropped, note


def checked(x: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """`x` as float32, if it is a float array of this shape.

    Raises:
        CheckpointError: naming both shapes, or the type.
    """
    x = np.asarray(x)
    if x.shape != shape:
        raise CheckpointError(
            f"{name} has shape {list(x.shape)}, but the model's settings make it {list(shape)}"
        )
    if not is_float(x.dtype):
        raise CheckpointError(f'{name} is {x.dtype}, allowed: floating-point numbers')
    return x.astype(np.float32)


def is_float(dtype: np.dtype) -> bool:
    """Whether a dtype is a float, bfloat16 (a foreign type to NumPy) included."""
    return np.issubdtype(dtype, np.floating) or dtype.name == 'bfloat16'


def fold_embeddings(params: Mapping[str, Tree]) -> dict[str, Tree]:
    """The tree with disentangled embeddings written out as two blocks of tables.

    What the discriminator reads is the sum of the generator's tables and its own, with its own
    norm (DeBERTaV3, section 3.3); the result has it under `embeddings`, and what the generator
    reads under `generator_embeddings`, as an untied model does.
    """
    if 'embedding_delta' not in params:
        return dict(params)
    folded = {name: part for name, part in params.items() if name != 'embedding_delta'}
    base, delta = params['embeddings'], params['embedding_delta']
    tables = {
        name: np.asarray(base[name]) + np.asarray(delta[name])
        for name in ('word', 'position', 'type')
    }
    return {**folded, 'embeddings': {**tables, 'norm': delta['norm']}, 'generator_embeddings': base}


def check_block(model: ModelConfig, target: str) -> None:
    """Refuses a model whose layers other formats cannot express.

    Args:
        model: of the parameters.
        target: the format's name, for errors.

    Raises:
        CheckpointError: naming each setting.
    """
    bert = {field.name: field.default for field in dataclasses.fields(ModelConfig)} | {
        'norm': 'post'
    }
    others = [name for name in resolve.BLOCK if getattr(model, name) != bert[name]]
    if others:
        has = ', '.join(f'config.model.{name}={getattr(model, name)}' for name in others)
        knows = ', '.join(f'{name}={bert[name]}' for name in others)
        raise CheckpointError(
            f"the model has {has}, but {target} knows BERT's block only ({knows}): such a model "
            'cannot be converted'
        )


def keep_expressible(params: Mapping[str, Tree], target: str) -> tuple[dict[str, Tree], Report]:
    """The tree without the parts that only we have, and a report that names them.

    Args:
        params: our tree.
        target: the format's name, for errors.

    Raises:
        CheckpointError: the networks themselves cannot be expressed there.
    """
    for network in ('discriminator', 'generator', 'generator_ltr', 'generator_rtl'):
        if 'norm' in params.get(network, {}):
            raise CheckpointError(
                f"{network} has config.model.norm='pre' ({network}/norm), but {target} knows "
                "post-norm layers only ('post'): such a model cannot be converted"
            )
    kept, report = fold_embeddings(params), Report()
    if 'embedding_delta' in params:
        report.notes.append(
            'disentangled embeddings were written out: the discriminator has the sum of both '
            "tables, the generator its own (config.model.embedding_sharing='untied')"
        )
    for part in sorted(set(kept) & set(names.LEFT_OUT)):
        report.left_out[part] = names.LEFT_OUT[part]
        del kept[part]
    if 'detector' in params and kept.pop('discriminator_head', None):
        report.left_out['discriminator_head'] = 'it stands on the detector of TEAMS, not on this'
    return kept, report


def put(tree: Tree, path: str, leaf: np.ndarray) -> None:
    """Writes a leaf at a path such as ``'layers/attention/query/kernel'``, in place."""
    *parents, last = path.split('/')
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = leaf


def listed(found: Sequence[str]) -> str:
    """Names for an error: the first few, and how many more."""
    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return ', '.join(found[:_SHOWN]) + more


def _pad_rows(x: np.ndarray, rows: int) -> np.ndarray:
    return np.pad(x, [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1))
