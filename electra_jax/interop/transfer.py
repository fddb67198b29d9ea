"""Moves arrays between our tree and the names of another format, by the table of names."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.config import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree, count, named_leaves, nested
from electra_jax.interop import names
from electra_jax.interop.names import Part, Row
from electra_jax.interop.sizes import parts_of, sizes_of
from electra_jax.model.bind import vocab_rows

Arrays = Mapping[str, np.ndarray]  # by name in the other format
_SHOWN = 20  # names listed in an error


class Moved(NamedTuple):
    """A part that went from one format to the other."""

    ours: str
    numbers: int
    theirs: str
    arrays: int  # there


@dataclasses.dataclass
class Report:
    """What a conversion did with everything it saw."""

    moved: list[Moved] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)  # parts of ours, not in the source
    # Name in the source -> what it is.
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """A line for each part, then what was not converted."""
        for ours, numbers, theirs, arrays in self.moved:
            yield f'  {ours:<22} {numbers:>13,} numbers   {theirs or "-":<34} {arrays:>4} arrays'
        if self.missing:
            yield f'  missing there: {", ".join(self.missing)} (starts fresh in training)'
        for what in dict.fromkeys(self.left_out.values()):
            left = [name for name, why in self.left_out.items() if why == what]
            shown = left[0] if len(left) == 1 else f'{len(left)} arrays such as {left[0]}'
            yield f'  left out: {shown}: {what}'
        for note in dict.fromkeys(self.notes):
            yield f'  note: {note}'


def rearrange(x: np.ndarray, source: str, target: str, sizes: Mapping[str, int]) -> np.ndarray:
    """Merges, splits and permutes dimensions; never changes a number.

    The dimensions of `x` are the words of `source`, such as ``'D HK'``, those of the result the
    words of `target`, such as ``'HK D'`` or ``'D H K'``.

    >>> rearrange(np.arange(4).reshape(2, 2), 'D HK', 'H K D', {'D': 2, 'H': 1, 'K': 2}).tolist()
    [[[0, 2], [1, 3]]]
    """
    letters = source.replace(' ', '')
    x = x.reshape([sizes[letter] for letter in letters])
    x = x.transpose([letters.index(letter) for letter in target.replace(' ', '')])
    return np.ascontiguousarray(x.reshape(_shape_of(target, sizes)))


def _shape_of(letters: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape that spaced letters stand for: ``'D HK'`` -> (D, H * K)."""
    return tuple(int(np.prod([sizes[letter] for letter in word])) for word in letters.split())


def read_parts(
    arrays: Arrays, parts: Iterable[Part], model: ModelConfig, vocab_size: int
) -> tuple[dict[str, Tree], Report]:
    """Our parameters, float32, from the arrays of another format, and a report of all arrays.

    Of the given parts those are read that are there. The rows that pad our tables beyond
    `vocab_size` tokens are zeros.
    """
    params, report, used = {}, Report(), set()
    for part in parts:
        sizes = sizes_of(model, part.ours, vocab_size)
        projects = sizes['E'] != sizes['D']
        rows = [row for row in part.rows if projects or not row.ours.startswith('project/')]
        wanted = {row: part.names(row, sizes['N']) for row in rows}
        every = [name for found in wanted.values() for name in found]
        missing = [name for name in every if name not in arrays]
        if len(missing) == len(every):
            continue
        if missing:
            raise CheckpointError(
                f'the source holds only some of {part.ours}: {listed(missing)} cannot be found. It '
                'is damaged, or its settings (layers, widths) are not those of this model'
            )
        if part.ours == 'task_head':  # its outputs are as many as there are
            sizes['C'] = np.size(arrays[every[-1]])
        leaves: dict[str, np.ndarray] = {}
        for row, found in wanted.items():
            sizes['G'] = row.maps
            layers = [_layer(arrays[name], name, part, row, sizes, report) for name in found]
            if row.first:  # ours has it in each layer, where it changes nothing
                shape = [sizes[letter] for letter in row.our_letters.split()]
                filling = np.full(shape, row.ours.endswith('scale'), np.float32)
                layers = [filling] * row.first + layers
            leaf = np.stack(layers) if row.stacked else layers[0]
            if row.letters.startswith('V'):
                padding = vocab_rows(model, vocab_size) - vocab_size
                leaf = np.pad(leaf, [(0, padding)] + [(0, 0)] * (leaf.ndim - 1))
            leaves[row.ours] = leaf
        used.update(every)
        params[part.ours] = nested(leaves)
        report.moved.append(Moved(part.ours, count(leaves), part.prefix, len(every)))
    for needed in ('embeddings', 'discriminator'):
        if needed not in params:
            raise CheckpointError(
                f'the source has no array of {needed}: it is not an ELECTRA, or its settings '
                'differ from these'
            )
    report.missing = sorted(parts_of(model) - params.keys())
    report.left_out = _ignorable(set(arrays) - used)
    return params, report


def write_parts(
    params: Mapping[str, Tree], parts: Iterable[Part], vocab_size: int
) -> tuple[dict[str, np.ndarray], list[Moved]]:
    """The given parts of our tree as arrays of another format, and what was moved.

    Rows that pad the vocabulary beyond `vocab_size` tokens are not written.
    """
    arrays: dict[str, np.ndarray] = {}
    moved = []
    for part in parts:
        if part.ours in params:
            written = _write_part(params[part.ours], part, vocab_size)
            moved.append(Moved(part.ours, count(written), part.prefix, len(written)))
            arrays |= written
    return arrays, moved


def _write_part(tree: Tree, part: Part, vocab_size: int) -> dict[str, np.ndarray]:
    rows = {row.ours: row for row in part.rows}
    leaves = dict(named_leaves(tree))
    unknown = sorted(set(leaves) - set(rows))
    lacking = [name for name in rows if name not in leaves and not name.startswith('project/')]
    if unknown or lacking:
        what = f'has {listed(unknown)}' if unknown else f'lacks {listed(lacking)}'
        there = "Google's code" if part.is_google else 'transformers'
        raise CheckpointError(f'{part.ours} {what}, which {there} cannot express')
    arrays = {}
    for path, leaf in leaves.items():
        row, leaf = rows[path], np.asarray(leaf)
        if row.letters.startswith('V'):
            leaf = leaf[:vocab_size]
        layers = leaf[row.first :] if row.stacked else leaf[None]
        sizes = dict(zip(row.our_letters.split(), layers.shape[1:], strict=True))
        found = part.names(row, len(leaf))
        for name, layer in zip(found, layers, strict=True):
            arrays[name] = rearrange(layer, row.our_letters, part.letters(row), sizes)
    return arrays


def _layer(
    x: np.ndarray, name: str, part: Part, row: Row, sizes: Mapping[str, int], report: Report
) -> np.ndarray:
    """An array of another format as one layer of ours; rows without a token are left out."""
    x, V, letters = np.asarray(x), sizes['V'], part.letters(row)
    if row.letters.startswith('V') and x.ndim:
        if len(x) < V:
            raise CheckpointError(
                f'{name} has {len(x)} rows, but the vocabulary has {V} tokens: this is not the '
                'vocabulary of this model'
            )
        if len(x) > V:
            report.notes.append(f'rows {V} to {len(x) - 1} of {name} have no token: left out')
        x = x[:V]
    shape = _shape_of(letters, sizes)
    if x.shape != shape:
        raise CheckpointError(
            f"{name} has shape {list(x.shape)}, but the model's settings make it {list(shape)}"
        )
    # bfloat16 is a foreign type to NumPy.
    if not np.issubdtype(x.dtype, np.floating) and x.dtype.name != 'bfloat16':
        raise CheckpointError(f'{name} is {x.dtype}, allowed: floating-point numbers')
    return rearrange(x.astype(np.float32), letters, row.our_letters, sizes)


def _ignorable(left: Collection[str]) -> dict[str, str]:
    """What each name is that no row of the table has; unknown names are refused."""
    patterns = names.IGNORED.items()
    found = {name: what for name in sorted(left) for p, what in patterns if re.fullmatch(p, name)}
    unknown = sorted(set(left) - found.keys())
    if unknown:
        raise CheckpointError(
            'the source holds arrays that are not those of ELECTRA: '
            f'{listed(unknown)}. Nothing was converted: remove them from it if they do not matter'
        )
    return found


def count_layers(
    found: Iterable[str], scope: str, layer: str = r'encoder[/.]layer[_.](\d+)[/.]'
) -> int:
    """The number of layers in names of arrays that begin with `scope` and the pattern `layer`."""
    pattern = re.compile(re.escape(scope) + layer)
    layers = {int(match[1]) for match in map(pattern.match, found) if match}
    if layers != set(range(len(layers))):
        shown = listed([str(number) for number in sorted(layers)])
        raise CheckpointError(
            f'{scope}encoder has the layers {shown}: layers before them are missing'
        )
    return len(layers)


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
        if name in base
    }
    return {**folded, 'embeddings': {**tables, 'norm': delta['norm']}, 'generator_embeddings': base}


def other_settings(model: ModelConfig) -> dict[str, Any]:
    """Settings in which a model differs from BERT's block and heads -> the value there."""
    bert = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    bert['norm'] = 'post'
    if model.type_vocab_size:
        bert['type_vocab_size'] = model.type_vocab_size
    names = (*resolve.BLOCK, 'type_vocab_size', 'discriminator_head_norm')
    return {name: bert[name] for name in names if getattr(model, name) != bert[name]}


def keep_expressible(params: Mapping[str, Tree], target: str) -> tuple[dict[str, Tree], Report]:
    """The tree without the parts that only we have, and a report that names them."""
    kept, report = fold_embeddings(params), Report()
    if 'embedding_delta' in params:
        report.notes.append(
            'disentangled embeddings were written out: the discriminator has the sum of both '
            "tables, the generator its own (config.model.embedding_sharing='untied')"
        )
    for part in ('embeddings', 'generator_embeddings'):
        tables = dict(kept.get(part, {}))
        for name in sorted(names.IMAGE_TABLES & tables.keys()):
            report.left_out[f'{part}/{name}'] = 'other projects read no images before a text'
            del tables[name]
        kept |= {part: tables} if part in kept else {}
    for part in sorted(set(kept) & set(names.LEFT_OUT)):
        report.left_out[part] = names.LEFT_OUT[part]
        del kept[part]
    if 'detector' in params and kept.pop('discriminator_head', None):
        report.left_out['discriminator_head'] = 'it stands on the detector of TEAMS, not on this'
    unknown = sorted(kept.keys() - {'task_head', *(part.ours for part in names.GOOGLE_PARTS)})
    if unknown:
        raise CheckpointError(f'{target} has no counterpart for {listed(unknown)}')
    return kept, report


def listed(found: Sequence[str]) -> str:
    """Names for an error: the first few, and how many more."""
    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return ', '.join(found[:_SHOWN]) + more
