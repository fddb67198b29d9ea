"""A config compiled for a TPU slice: the record of what is known, and the table for people."""

from typing import Any

from electra_jax.aot import compile, roofline, suggest, topologies
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary
from electra_jax.parallel import chips
from electra_jax.parallel import report as parallel_report
from electra_jax.pretrain import program as runs
from electra_jax.tokenizers.api import SpecialIds

SHOWN = 10  # entries of each list in the table; the record has more


def make(
    config: Config, name: str, topology: str, slices: int, try_seconds: float
) -> dict[str, Any]:
    """Compiles a config's step; where it does not fit, looks for settings that do.

    Args:
        config: for TPUs.
        name: of its recipe.
        topology: of a slice, such as ``'v5e:4x4'``.
        slices: how many of them.
        try_seconds: settings that might fit are compiled if one compilation takes no longer.

    Returns:
        The record that --json prints.

    Raises:
        ConfigError: there is no such topology, or no TPU compiler.
    """
    devices = topologies.devices(topology, slices)
    vocabulary = Vocabulary(config.data.tokenizer.vocab_size, SpecialIds(0, 100, 101, 102, 103))

    def compiled(config: Config) -> tuple[runs.Program, compile.Compiled]:
        program = runs.build_program(config, vocabulary, devices)
        batch = runs.abstract_batch(program)
        return program, compile.compile_step(program.step, program.abstract_state, batch)

    program, made = compiled(config)
    record = {'config': name, 'topology': topology, 'slices': slices, **describe(program, made)}
    if not record['fits']:
        used = suggest.memory(made.hbm_bytes, record['hbm_limit_bytes'], program.abstract_state)
        try_out = (lambda other: compiled(other)[1]) if made.seconds <= try_seconds else None
        suggestion = suggest.nearest(config, used, program.mesh, try_out)
        record['suggestion'] = suggestion._asdict() if suggestion else None
    return record


def describe(program: runs.Program, made: compile.Compiled) -> dict[str, Any]:
    """The part of the record that the program and its compilation decide."""
    config, mesh = program.config, program.mesh
    tokens = config.batch_size * config.data.row_length
    flops = training_flops(config, program.vocabulary.size, program.objective.networks)
    chip = chips.chip(mesh.devices.flat[0])
    if chip is None:
        raise ConfigError(f'parallel/chips.py does not know {mesh.devices.flat[0].device_kind}')
    return {
        'device': parallel_report.mesh_line(mesh),
        'rows': config.batch_size,
        'row_length': config.data.row_length,
        'tokens_per_chip': tokens / mesh.size,
        'attention': config.model.attention,
        'remat': config.model.remat,
        **roofline.account(made, chip, mesh, tokens, flops),
        'suggestion': None,
    }


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
        lines.append(f'  {suggestion_line(record["suggestion"])}')
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


def suggestion_line(suggestion: dict[str, Any] | None) -> str:
    """What to type instead."""
    if suggestion is None:
        return 'no smaller setting fits: use more chips, or a smaller model'
    words = ' '.join(f'--config.{name}={value}' for name, value in suggestion['changes'].items())
    how = 'compiled' if suggestion['compiled'] else 'by estimate'
    return f'what fits ({how}, {suggestion["hbm_bytes"] / 2**30:.2f} GiB a chip): {words}'
