"""A config compiled for a TPU slice: the record of what is known, and the table for people."""

import dataclasses
from typing import Any

from electra_jax.aot import compile, hlo, roofline, topologies, traffic
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary
from electra_jax.parallel import chips, mesh
from electra_jax.parallel import report as parallel_report
from electra_jax.pretrain import program as runs
from electra_jax.tokenizers.api import SpecialIds

RECORDED = 40  # of the largest buffers and movements
SHOWN = 10  # of those in the table


def make(config: Config, name: str, topology: str, slices: int) -> dict[str, Any]:
    """Compiles a config's step, and returns the record that --json prints.

    Args:
        config: for TPUs.
        name: of its recipe.
        topology: of a slice, such as ``'v5e:4x4'``.
        slices: how many of them.

    Raises:
        ConfigError: there is no such topology, or no TPU compiler.
    """
    devices = topologies.devices(topology, slices)
    vocabulary = Vocabulary(config.data.tokenizer.vocab_size, SpecialIds(0, 100, 101, 102, 103))
    program = runs.build_program(config, vocabulary, devices)
    batch = runs.abstract_batch(program)
    made = compile.compile_step(program.step, program.abstract_state, batch)
    chip = chips.chip(devices[0])
    if chip is None:
        raise ConfigError(f'parallel/chips.py does not know {devices[0].device_kind}')
    about = {'config': name, 'topology': topology, 'slices': slices}
    return {**about, **describe(program, made, chip)}


def describe(program: runs.Program, made: compile.Compiled, chip: chips.Chip) -> dict[str, Any]:
    """The part of the record that the program, its compilation and the chip decide."""
    if chip.hbm_bytes is None or chip.hbm_bandwidth is None:
        raise ConfigError('parallel/chips.py does not know the memory of this chip')
    config = program.config
    tokens = config.batch_size * config.data.row_length / program.mesh.size
    flops = training_flops(config, program.vocabulary.size, program.objective.networks)
    fits = made.temp_bytes is not None and made.hbm_bytes <= chip.hbm_bytes
    return {
        'device': parallel_report.mesh_line(program.mesh),
        'rows': config.batch_size,
        'row_length': config.data.row_length,
        'tokens_per_chip': tokens,
        'attention': config.model.attention,
        'remat': config.model.remat,
        'fits': fits,
        'hbm_bytes_per_chip': made.hbm_bytes,
        'hbm_limit_bytes': int(chip.hbm_bytes),
        'temp_bytes_per_chip': made.temp_bytes,
        'flops_per_token': dict(flops),
        'chip_intensity': chip.flops / chip.hbm_bandwidth,
        'compile_seconds': made.seconds,
        **costs(program, made.text, chip, tokens, flops['mfu']),
        'suggestion': None if fits else to_try(program),
    }


def costs(
    program: runs.Program, text: str | None, chip: chips.Chip, tokens: float, flops: float
) -> dict[str, Any]:
    """What the optimized program moves, and the time that it must take at least.

    Args:
        program: for its mesh.
        text: the optimized program; each cost is None where there is none.
        chip: what each device can do.
        tokens: of one chip.
        flops: per token.

    Returns:
        bytes_per_token (main memory, read and written), bytes_by_source, largest_buffers,
        collectives, intensity (FLOPs a byte; from chip_intensity on, a chip is compute-bound) and
        roofline.
    """
    if text is None:
        names = ('bytes_per_token', 'bytes_by_source', 'largest_buffers', 'collectives')
        return dict.fromkeys((*names, 'intensity', 'roofline'))
    module = hlo.parse(text)
    moves = traffic.movements(module)
    per_token = sum(move.bytes for move in moves) / tokens
    slices = [mesh.slice_of(device) for device in program.mesh.devices.flat]
    collectives = traffic.collectives(module, slices)
    return {
        'bytes_per_token': per_token,
        'bytes_by_source': [
            {**move._asdict(), 'bytes': move.bytes / tokens} for move in moves[:RECORDED]
        ],
        'largest_buffers': [dataclasses.asdict(one) for one in traffic.buffers(module)[:RECORDED]],
        'collectives': [dataclasses.asdict(one) for one in collectives],
        'intensity': flops / per_token,
        'roofline': roofline.roofline(chip, flops, per_token, tokens, collectives),
    }


def to_try(program: runs.Program) -> list[str]:
    """Settings that need less memory, those that change the training least first."""
    config, sizes = program.config, program.mesh.shape
    ways, microbatches = sizes['data'] * sizes['fsdp'], config.optimizer.microbatches
    can_be_halved = config.batch_size // ways // microbatches % 2 == 0  # rows of a microbatch
    words = [] if config.model.remat == 'full' else ['--config.model.remat=full']
    if can_be_halved:
        words.append(f'--config.optimizer.microbatches={2 * microbatches}')
    if sizes['data'] > 1:
        words.append(f'--config.mesh.data=1 --config.mesh.fsdp={ways}')
    if can_be_halved:
        words.append(f'--config.batch_size={config.batch_size // 2}')
    return words


def as_table(record: dict[str, Any]) -> str:
    """The record for people."""
    used, limit = (record[name] / 2**30 for name in ('hbm_bytes_per_chip', 'hbm_limit_bytes'))
    flops = record['flops_per_token']
    lines = [
        f'{record["config"]}, {record["rows"]} x {record["row_length"]} tokens a step, on '
        f'{record["device"]}; attention {record["attention"]}, remat {record["remat"]}',
        f'  {"fits" if record["fits"] else "DOES NOT FIT"}: {used:.2f} GiB of {limit:.2f} GiB a '
        f'chip, {abs(limit - used):.2f} GiB {"to spare" if used <= limit else "too much"}',
        f'  {flops["mfu"] / 1e9:.4g} GFLOP a token (6 N + attention), '
        f"{flops['paper'] / 1e9:.4g} by the paper's count",
    ]
    if record['roofline']:
        lines += cost_lines(record)
    elif record['fits']:
        lines.append('  what it moves is not known: XLA cannot print this program')
    if not record['fits']:
        words = ' or '.join([*record['suggestion'], 'more chips'])
        lines.append(f'  what needs less memory a chip: {words}')
    return '\n'.join([*lines, f'  compiled in {record["compile_seconds"]:.0f} s'])


def cost_lines(record: dict[str, Any]) -> list[str]:
    """What the step moves, and how long it must take."""
    roof, seconds = record['roofline'], record['roofline']['seconds_by']
    times = ', '.join(f'{name} {value * 1e3:.1f} ms' for name, value in seconds.items())
    lines = [
        f'  {record["bytes_per_token"] / 1e6:.2f} MB of main memory read and written a token: '
        f'{record["intensity"]:.0f} FLOPs a byte; from {record["chip_intensity"]:.0f} on the chip '
        'is compute-bound',
        f'  at least {roof["seconds"] * 1e3:.1f} ms a step ({times}), bound by {roof["bound_by"]}: '
        f'MFU at most {roof["mfu"]:.0%}, {roof["mfu_in_turn"]:.0%} if nothing overlaps',
        *(f'    assumed: {note}' for note in roof['assumptions']),
        '  collectives of a step, bytes of one chip:',
    ]
    for one in record['collectives']:
        where = ' across slices' if one['crosses_slices'] else ''
        lines.append(
            f'    {one["bytes"] / 1e6:>10,.1f} MB  {one["kind"]} over {one["devices"]} '
            f'chips{where}, {one["count"]} times'
        )
    lines.append('  largest arrays in main memory:')
    for one in record['largest_buffers'][:SHOWN]:
        lines.append(f'    {one["bytes"] / 2**20:>10,.1f} MiB {one["shape"]}  {one["source"]}')
    lines.append('  most bytes a token:')
    for one in record['bytes_by_source'][:SHOWN]:
        lines.append(f'    {one["bytes"] / 1e6:>10.3f} MB  {one["opcode"]}  {one["source"]}')
    return lines
