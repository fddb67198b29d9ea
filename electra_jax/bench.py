"""Throughput of a config's train step, beside a peer's on the same machine.

``python -m electra_jax.bench --config=configs/small.py --config.batch_size=16
--versus=transformers``: random tokens, so no text is needed; every step does all the work of
training (draws, both networks, dropout, clip and optimizer).
"""

import json
import subprocess
import sys

import jax
import numpy as np
from absl import flags as absl_flags

from electra_jax import flags
from electra_jax import run as runs
from electra_jax.config import validate
from electra_jax.config.presets import discriminator_shape, generator_shape
from electra_jax.config.schema import Config
from electra_jax.core import distributed
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary
from electra_jax.parallel import report
from electra_jax.tokenizers.api import SpecialIds
from electra_jax.train import throughput

CONFIG = flags.config_flag()
VERSUS = absl_flags.DEFINE_enum(
    'versus', None, ['transformers'], 'a peer to time first: PyTorch on transformers (parity extra)'
)
STEPS = absl_flags.DEFINE_integer('steps', 10, 'timed steps', lower_bound=1)
WARMUP = absl_flags.DEFINE_integer('warmup', 3, 'steps before them', lower_bound=1)
JSON = absl_flags.DEFINE_bool('json', False, 'print one JSON object instead of a table')

# Rows of random tokens stand for text: the vocabulary that ELECTRA was published with.
VOCABULARY = Vocabulary(30522, SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103))


def main(config: Config) -> None:
    """Times the peer, if one is asked for, then ours, and prints both and the ratio."""
    peer = time_peer(config) if VERSUS.value else None
    distributed.initialize()
    program = runs.build_program(config, VOCABULARY)
    batch = runs.put_batch(program.mesh, config.batch_size, random_rows(config))
    timing = throughput.time_steps(
        program.step, program.fresh_state(), batch, WARMUP.value, STEPS.value
    )
    record = describe(program, timing, peer)
    print(json.dumps(record) if JSON.value else as_table(record))


def random_rows(config: Config) -> dict[str, np.ndarray]:
    """Full rows of one document each, of random ordinary tokens, int32 [B, L]."""
    shape = (config.batch_size, config.data.row_length)
    tokens_BL = np.random.default_rng(0).integers(1000, VOCABULARY.size, shape, np.int32)
    tokens_BL[:, 0], tokens_BL[:, -1] = VOCABULARY.special.cls, VOCABULARY.special.sep
    places_BL = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape)
    return {
        'tokens': tokens_BL,
        'documents': np.ones(shape, np.int32),
        'positions': np.ascontiguousarray(places_BL),
        'types': np.zeros(shape, np.int32),
    }


def describe(program: runs.Program, timing: throughput.Timing, peer: dict | None) -> dict:
    """Everything measured, under the names of the JSON form."""
    config, mesh = program.config, program.mesh
    rate = config.batch_size * config.data.row_length / timing.median
    flops = training_flops(config, VOCABULARY.size, program.objective.parts)
    peak = distributed.peak_flops(list(mesh.devices.flat))
    return {
        'config': flags.recipe_name(CONFIG),
        'rows': config.batch_size,
        'row_length': config.data.row_length,
        'dtype': config.model.compute_dtype,
        'device': report.mesh_line(mesh),
        'jax': jax.__version__,
        'tokens_per_second': rate,
        'step_seconds': timing.step_seconds,
        'compile_seconds': timing.compile_seconds,
        'flops_per_token': flops,
        'mfu': rate * flops['mfu'] / peak if peak else None,
        'peak_memory_bytes': timing.peak_memory_bytes,
        'peer': peer,
        'peer_tokens_per_second': peer['tokens_per_second'] if peer else None,
        'ratio': rate / peer['tokens_per_second'] if peer else None,
    }


def as_table(record: dict) -> str:
    """The record for people."""
    lines = [
        f'{record["config"]}, {record["rows"]} x {record["row_length"]} tokens a step, '
        f'{record["device"]}, {record["dtype"]}',
        line('electra_jax', record, f'compiled in {record["compile_seconds"]:.0f} s'),
    ]
    if record['peer']:
        lines += [line('transformers', record['peer'], f'torch {record["peer"]["torch"]}')]
        lines += [f'  {"ratio":<14}{record["ratio"]:>9.2f}']
    if record['mfu']:
        lines += [f'  {"MFU":<14}{record["mfu"]:>9.1%}']
    return '\n'.join(lines)


def line(name: str, record: dict, note: str) -> str:
    """One program's speed, the spread of its steps and its memory."""
    seconds = record['step_seconds']
    return (
        f'  {name:<14}{record["tokens_per_second"]:>9,.0f} tokens/s   steps of '
        f'{min(seconds):.3f} to {max(seconds):.3f} s   '
        f'{record["peak_memory_bytes"] / 2**30:.1f} GiB   {note}'
    )


def time_peer(config: Config) -> dict:
    """The same step in PyTorch, in a process of its own.

    Raises:
        ConfigError: the objective has no peer.
        UserError: the peer failed or is not installed.
    """
    for path, wanted in (('objective.name', 'electra'), ('model.norm', 'post')):
        if validate.setting(config, path) != wanted:
            raise ConfigError(
                f'--versus=transformers times config.{path}={wanted}, which is all that '
                f'transformers has, not {validate.setting(config, path)!r}'
            )
    words = [
        sys.executable,
        '-m',
        'electra_jax.interop.torch_peer',
        json.dumps(peer_settings(config)),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'the peer could not be timed: {done.stderr.strip()}')
    return json.loads(done.stdout.splitlines()[-1])


def peer_settings(config: Config) -> dict:
    """The config in the peer's words."""
    generator, discriminator = generator_shape(config.model), discriminator_shape(config.model)
    return {
        'num_layers': discriminator.num_layers,
        'hidden_size': discriminator.hidden_size,
        'ffn_size': discriminator.ffn_size,
        'num_heads': discriminator.num_heads,
        'embedding_size': config.model.embedding_size,
        'generator_num_layers': generator.num_layers,
        'generator_hidden_size': generator.hidden_size,
        'generator_ffn_size': generator.ffn_size,
        'generator_num_heads': generator.num_heads,
        'vocab_size': VOCABULARY.size,
        'max_positions': config.model.max_positions,
        'batch_size': config.batch_size,
        'row_length': config.data.row_length,
        'mask_rate': config.objective.mask_rate,
        'dropout': config.model.dropout,
        'attention_dropout': config.model.attention_dropout,
        'steps': STEPS.value,
        'warmup': WARMUP.value,
        'dtype': config.model.compute_dtype or '',
    }


if __name__ == '__main__':
    flags.run(main, CONFIG)
