"""Writes a checkpoint as a folder that runs without this package: what the command `export` does.

The folder holds the program as StableHLO (`jax.export`), the parameters as safetensors, the
tokenizer as the `tokenizers` library reads it, export.json, which describes them, and README.md,
which has the lines that load them.
"""

import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers

from electra_jax.config.resolve import stored_model
from electra_jax.config.settings import ModelConfig
from electra_jax.core import files, trees
from electra_jax.core.errors import ConfigError, UserError, unknown
from electra_jax.export import programs
from electra_jax.export.programs import Program
from electra_jax.finetune import task as tasks
from electra_jax.inference import opened
from electra_jax.init_from import check_complete, checked_start
from electra_jax.interop import files as foreign_files
from electra_jax.interop import tokenizer as foreign_tokenizer
from electra_jax.interop.wordpiece_folder import LIBRARY_FILE
from electra_jax.model.bind import bind
from electra_jax.runtime import terminal
from electra_jax.tokenizers.api import SpecialIds, Tokenizer

PROGRAM_FILE, PARAMETERS_FILE, ABOUT_FILE = 'model.stablehlo', 'model.safetensors', 'export.json'
README_FILE, README = (
    'README.md',
    """\
# {name}

The program `{task}` of an ELECTRA model: {count:,} parameters in {dtype}, rows of {length} tokens.
It gives {outputs}; `{about}` has the shapes, dtypes and meanings of all.

In this folder, with `pip install jax flatbuffers safetensors tokenizers`:

```python
import json, pathlib
import jax, jax.export, numpy as np, safetensors.numpy, tokenizers

folder = pathlib.Path('.')
about = json.loads((folder / 'export.json').read_text())
program = jax.export.deserialize(bytearray((folder / about['program']).read_bytes()))
params = safetensors.numpy.load_file(folder / about['parameters']['file'])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / about['tokenizer']))
tokenizer.encode_special_tokens = True  # a text may hold the word "[MASK]"
rows = tokenizer.encode_batch(['A film to remember.', 'A waste of an evening.'])
tokens, types = (np.array([getattr(r, x) for r in rows], np.int32) for x in ('ids', 'type_ids'))
answers = jax.jit(program.call)(params, tokens, types)
```
""",
)  # the same lines as in docs/export.md
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')  # that jax.export names


class Request(NamedTuple):
    """What was asked for."""

    checkpoint: str  # as `inference.opened.read` takes it
    target: pathlib.Path  # a folder, new or empty
    task: str  # of `programs.TASKS`
    dtype: str  # of the parameters in the folder, one of `interop.files.FLOATS`
    platforms: Sequence[str]  # of PLATFORMS
    row_length: int | None  # L; None: that of the task, or of the model


class _Chosen(NamedTuple):
    """A checkpoint, and what is exported of it."""

    where: str
    about: Mapping[str, Any]
    params: dict[str, np.ndarray]  # those that the program needs, by path
    tokenizer: Tokenizer
    model: ModelConfig
    program: Program
    row_length: int


def export(request: Request) -> list[str]:
    """Writes the folder, whole or not at all; lines for people.

    Raises:
        ConfigError: a flag has a value that does not exist, or that the model cannot have.
        CheckpointError: the checkpoint is not there, is damaged, or lacks the head that is needed.
    """
    if importlib.util.find_spec('flatbuffers') is None:
        raise UserError(
            'jax.export needs the package flatbuffers, which is not installed: type '
            "pip install -e '.[export]'"
        )
    for platform in request.platforms or ('',):
        if platform not in PLATFORMS:
            raise unknown('--platforms', platform, PLATFORMS)
    files.check_new(request.target)
    chosen, notes = _choose(request)
    arrays = {name: x.astype(request.dtype) for name, x in chosen.params.items()}
    with terminal.alive('making the program', terminal.ERR):
        exported = _lowered(chosen, arrays, request.platforms)
    with files.whole_folder(request.target) as fresh:
        fresh.mkdir()
        _write_tokenizer(chosen, fresh)
        (fresh / PROGRAM_FILE).write_bytes(exported.serialize())
        foreign_files.write_tensors(fresh / PARAMETERS_FILE, arrays)
        about = _describe(chosen, exported, request)
        (fresh / ABOUT_FILE).write_text(json.dumps(about, indent=2, ensure_ascii=False) + '\n')
        (fresh / README_FILE).write_text(_readme(chosen, request), encoding='utf-8')
    size = sum(file.stat().st_size for file in request.target.iterdir())
    outputs = ', '.join(chosen.program.meanings)
    return [
        *(f'{chosen.where}: {note}' for note in notes),
        f'wrote {request.target} ({size / 1e6:.1f} MB): {chosen.program.task} of {chosen.where}, '
        f'{trees.count(arrays):,} parameters in {request.dtype}, rows of {chosen.row_length} '
        f'tokens, for {", ".join(request.platforms)}; it gives {outputs}',
        f'next: {ABOUT_FILE} there describes it, and {README_FILE} has the lines that load it',
    ]


def _choose(request: Request) -> tuple[_Chosen, list[str]]:
    """Reads the checkpoint, and what of it is exported."""
    settings = opened.settings_of(jax.device_count())
    found = opened.read(request.checkpoint, settings, '--checkpoint')
    start = checked_start(settings, found.where, found.params, found.about)
    whole = opened.open_pretrained(found, start, settings, {})
    task = tasks.from_json(found.about['task'], found.where) if found.is_tuned else None
    program = programs.choose(whole, task, request.task)
    # As the formulas stand: kernels belong to one platform.
    model = dataclasses.replace(stored_model(start.stored or {}), attention='xla')
    model = dataclasses.replace(model, compute_dtype='float32', scan_unroll=1, flat_products=False)
    bound = bind(model, start.tokenizer.vocab_size)
    shapes = program.shapes(bound)
    check_complete(found.where, found.params, shapes)
    wanted = {path for path, _ in trees.named_leaves(shapes)}
    params = {path: np.asarray(x) for path, x in trees.named_leaves(found.params) if path in wanted}
    usual = program.tuned.row_length if program.tuned else whole.config.data.row_length
    length = _row_length(request.row_length, usual, model)
    chosen = _Chosen(found.where, found.about, params, start.tokenizer, model, program, length)
    return chosen, found.notes


def _row_length(asked: int | None, usual: int, model: ModelConfig) -> int:
    most = model.max_positions
    if asked is None:
        return usual
    if not 8 <= asked <= most:
        raise ConfigError(f'--row_length is {asked}, allowed: 8 to {most}, the positions it has')
    return asked


def _lowered(
    chosen: _Chosen, params: Mapping[str, np.ndarray], platforms: Sequence[str]
) -> jax.export.Exported:
    """The program (parameters by path, tokens [B, L], types [B, L]) -> outputs, for any B."""
    special = chosen.tokenizer.special
    model = bind(chosen.model, chosen.tokenizer.vocab_size)
    answer = chosen.program.outputs(model, special)

    def run(
        params: dict[str, jax.Array], tokens_BL: jax.Array, types_BL: jax.Array
    ) -> dict[str, jax.Array]:
        tree = trees.nested({path: x.astype(jnp.float32) for path, x in params.items()})
        return answer(tree, _batch_of(tokens_BL, types_BL, special))

    (B,) = jax.export.symbolic_shape('B')
    row = jax.ShapeDtypeStruct((B, chosen.row_length), jnp.int32)
    shapes = {path: jax.ShapeDtypeStruct(x.shape, x.dtype) for path, x in params.items()}
    return jax.export.export(jax.jit(run), platforms=tuple(platforms))(shapes, row, row)


def _batch_of(
    tokens_BL: jax.Array, types_BL: jax.Array, special: SpecialIds
) -> dict[str, jax.Array]:
    """What the networks read of rows of one text, or of two, with [PAD] behind them."""
    real_BL = tokens_BL != special.pad
    position_BL = jnp.broadcast_to(jnp.arange(tokens_BL.shape[1]), tokens_BL.shape)
    types_BL = types_BL * real_BL
    return {
        'tokens': tokens_BL,
        'types': types_BL,
        'documents': real_BL.astype(jnp.int32),
        'positions': position_BL,
        'allowed': ((types_BL == 1) | (position_BL == 0)).astype(jnp.int32),
    }


def _write_tokenizer(chosen: _Chosen, folder: pathlib.Path) -> None:
    """Writes the tokenizer, which cuts and fills rows to the length of the program."""
    tokenizer, length = chosen.tokenizer, chosen.row_length
    foreign_tokenizer.write_tokenizer(
        tokenizer, folder, length, first_type=int(chosen.program.has_second_type_only)
    )
    path = str(folder / LIBRARY_FILE)
    library = tokenizers.Tokenizer.from_file(path)
    library.enable_truncation(length)
    pad = tokenizer.special.pad
    library.enable_padding(length=length, pad_id=pad, pad_token=tokenizer.pieces[pad])
    library.save(path)


def _describe(chosen: _Chosen, exported: jax.export.Exported, request: Request) -> dict[str, Any]:
    """The content of export.json."""
    task, pieces = chosen.program.tuned, chosen.tokenizer.pieces
    ids = dataclasses.asdict(chosen.tokenizer.special)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    inputs = {
        'tokens': 'ids: [CLS] text [SEP], or [CLS] text [SEP] second text [SEP], then [PAD]',
        'types': '1 at the second text and its [SEP], 0 elsewhere',
    }
    if chosen.program.has_second_type_only:
        inputs['types'] = '1 at every token but [PAD], as the head was trained'
    return {
        'format': 1,
        'task': chosen.program.task,
        'name': task.name if task else None,
        'labels': list(task.labels) if task else [],
        'program': PROGRAM_FILE,
        'parameters': {'file': PARAMETERS_FILE, 'dtype': request.dtype},
        'tokenizer': LIBRARY_FILE,
        'special': {name: {'id': i, 'piece': pieces[i]} for name, i in ids.items()},
        'arguments': ['parameters by name', *inputs],
        'inputs': {
            name: {'dtype': 'int32', 'shape': ['B', chosen.row_length], 'meaning': meaning}
            for name, meaning in inputs.items()
        },
        'outputs': {
            name: {
                'dtype': str(outputs[name].dtype),
                'shape': [x if isinstance(x, int) else str(x) for x in outputs[name].shape],
                'meaning': meaning,
            }
            for name, meaning in chosen.program.meanings.items()
        },
        'platforms': list(exported.platforms),
        'made_with': {
            'jax': jax.__version__,
            'calling_convention': exported.calling_convention_version,
        },
        # Checkpoints of fine-tuning, and converted ones, do not count theirs: step 0.
        'checkpoint': {'name': chosen.where, 'steps': chosen.about.get('steps') or None},
    }


def _readme(chosen: _Chosen, request: Request) -> str:
    return README.format(
        name=request.target.name, task=chosen.program.task, dtype=request.dtype,
        count=trees.count(chosen.params), length=chosen.row_length,
        outputs=', '.join(f'`{name}`' for name in chosen.program.meanings), about=ABOUT_FILE,
    )  # fmt: skip
