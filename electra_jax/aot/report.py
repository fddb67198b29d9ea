"""A config compiled for devices that are not here: what is known of it, and a table for people."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.aot import compile, hlo, kernels, topologies, traffic
from electra_jax.aot.definition import Platform
from electra_jax.config.settings import VOCAB_SIZE, Config
from electra_jax.core.complaints import counted
from electra_jax.core.errors import ConfigError
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary, without_text
from electra_jax.parallel import chips, mesh
from electra_jax.pretrain import program as runs
from electra_jax.runtime import terminal
from electra_jax.tokenizers.api import SpecialIds

RECORDED = 40  # of the largest buffers and movements
SHOWN = 10  # of those in the table
# Of the roofline.
ASSUMPTIONS = (
    "matrix products run at the chip's dense bfloat16 peak; what remat computes again is not "
    'counted',
    'main memory is read and written at the full bandwidth of the data sheet; the bytes are those '
    'of the optimized program, each loop counted as often as it turns, arrays in on-chip memory '
    'not counted',
    'collectives are rings over all links of a chip at once, at the full bandwidth of the data '
    'sheet, without latency; those that span slices use the data-centre network alone',
    'a step takes the largest of these times, as if they overlapped wholly; where nothing '
    'overlaps, their sum',
)


def make(config: Config, name: str, topology: str, slices: int) -> dict[str, Any]:
    """Compiles a config's step for slices of a topology; the record that --json prints."""
    platform = topologies.find(topology)
    platform.check(config)
    devices = topologies.devices(topology, slices)
    chip = chips.chip(devices[0])
    if chip is None or not (chip.hbm_bytes and chip.hbm_bandwidth and chip.ici_bandwidth):
        raise ConfigError(f'parallel/chips.py lacks numbers of {devices[0].device_kind}')
    vocab_size = config.data.tokenizer.vocab_size or VOCAB_SIZE
    vocabulary = Vocabulary(vocab_size, SpecialIds(0, 100, 101, 102, 103))
    vocabulary = without_text(vocabulary, config.model)
    program = runs.build_program(config, vocabulary, devices)
    batch = runs.abstract_batch(program)
    terminal.ERR.print(f'compiling {name} for {topology}, perhaps for minutes...')
    with terminal.alive('compiling', terminal.ERR):
        made = compile.compile_step(program.step, program.abstract_state, batch, platform.options)
    about = {'config': name, 'topology': topology, 'slices': slices}
    return {**about, **describe(program, made, chip, platform)}


def describe(
    program: runs.Program, made: compile.Compiled, chip: chips.Chip, platform: Platform
) -> dict[str, Any]:
    """The part of the record that the program, its compilation and the chip decide."""
    assert chip.hbm_bytes and chip.hbm_bandwidth  # `make` has looked
    limit = int(chip.hbm_bytes * platform.memory_share())
    config = program.config
    tokens = config.batch_size * config.data.row_length / program.mesh.size
    flops = training_flops(config, program.vocabulary.size, program.objective.networks)
    fits = made.temp_bytes is not None and made.hbm_bytes <= limit
    return {
        'device': mesh.mesh_line(program.mesh),
        'group': platform.group,
        'rows': config.batch_size,
        'row_length': config.data.row_length,
        'tokens_per_chip': tokens,
        'chips': program.mesh.size,
        'total_steps': config.total_steps,
        'attention': config.model.attention,
        'remat': config.model.remat,
        'fits': fits,
        'hbm_bytes_per_chip': made.hbm_bytes,
        'hbm_limit_bytes': limit,
        'temp_bytes_per_chip': made.temp_bytes,
        'flops_per_token': dict(flops),
        'chip_intensity': chip.flops / chip.hbm_bandwidth,
        'compile_seconds': made.seconds,
        **costs(program, made.text, chip, platform, tokens, flops['mfu']),
        'suggestion': None if fits else to_try(program),
    }


def costs(
    program: runs.Program,
    text: str | None,
    chip: chips.Chip,
    platform: Platform,
    tokens: float,
    flops: float,
) -> dict[str, Any]:
    """What a program moves, and the time that it must take at least; each None without its text.

    `tokens` are those of one chip, `flops` those of a token.
    """
    if text is None:
        names = (
            'bytes_per_token', 'bytes_by_source', 'largest_buffers', 'collectives', 'kernels',
            'kernels_by_source',
        )  # fmt: skip
        return dict.fromkeys((*names, 'intensity', 'roofline'))
    module = hlo.parse(text)
    moves = traffic.movements(module)
    per_token = sum(move.bytes for move in moves) / tokens
    groups = [platform.group_of(device) for device in program.mesh.devices.flat]
    collectives = traffic.collectives(module, groups)
    launched = None if platform.launch_seconds is None else kernels.launches(module)
    counts = None if launched is None else kernels.by_kind(launched)
    return {
        'bytes_per_token': per_token,
        'bytes_by_source': [
            {**move._asdict(), 'bytes': move.bytes / tokens} for move in moves[:RECORDED]
        ],
        'largest_buffers': [dataclasses.asdict(one) for one in traffic.buffers(module)[:RECORDED]],
        'collectives': [dataclasses.asdict(one) for one in collectives],
        'kernels': counts,
        'kernels_by_source': launched and [dataclasses.asdict(one) for one in launched[:RECORDED]],
        'intensity': flops / per_token,
        'roofline': roofline(chip, platform, flops, per_token, tokens, collectives, counts),
    }


def roofline(
    chip: chips.Chip,
    platform: Platform,
    flops_per_token: float,
    bytes_per_token: float,
    tokens: float,
    collectives: Sequence[traffic.Collective],
    counts: Mapping[str, int] | None,
) -> dict[str, Any]:
    """The least time that a step of `tokens` on one chip can take, and what bounds it."""
    assert chip.hbm_bandwidth and chip.ici_bandwidth  # `make` has looked
    notes = [*ASSUMPTIONS, *platform.assumptions]
    wire = {True: 0.0, False: 0.0}  # by whether it crosses slices
    for one in collectives:
        wire[one.crosses_slices] += one.bytes * traffic.RING_TRIPS[one.kind] * (1 - 1 / one.devices)
    times = {
        'compute': flops_per_token * tokens / chip.flops,
        'memory': bytes_per_token * tokens / chip.hbm_bandwidth,
        platform.links: wire[False] / chip.ici_bandwidth,
    }
    if chip.dcn_bandwidth:
        times[platform.network] = wire[True] / chip.dcn_bandwidth
    elif wire[True]:
        notes.append("the data-centre network's bandwidth is not known: its time is left out")
    if counts is not None and platform.launch_seconds is not None:
        times['launches'] = sum(counts.values()) * platform.launch_seconds
    bound = max(times, key=times.__getitem__)
    in_turn = sum(times.values())
    return {
        'seconds': times[bound],
        'seconds_in_turn': in_turn,
        'seconds_by': times,
        'bound_by': bound,
        'mfu': times['compute'] / times[bound],
        'mfu_in_turn': times['compute'] / in_turn,
        'tokens_per_second_per_chip': tokens / times[bound],
        'assumptions': notes,
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
        f'{record["config"]}, {record["rows"]} x {record["row_length"]} tokens a step '
        f'({record["tokens_per_chip"] / record["row_length"]:g} rows a chip), on '
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
        f'  these are bounds of the roofline, not measured: at most '
        f'{roof["tokens_per_second_per_chip"] * record["chips"]:,.0f} tokens/s on all chips, and '
        f'at least {roof["seconds"] * record["total_steps"] / 3600:,.2f} h for '
        f'{counted(record["total_steps"], "steps")}',
        *(f'    assumed: {note}' for note in roof['assumptions']),
        '  collectives of a step, bytes of one chip:',
    ]
    for one in record['collectives']:
        where = f' across {record["group"]}s' if one['crosses_slices'] else ''
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
    return lines + kernel_lines(record)


def kernel_lines(record: dict[str, Any]) -> list[str]:
    """The kernels of a step; nothing where programs are not launched kernel by kernel."""
    counts = record['kernels']
    if counts is None:
        return []
    kinds = ', '.join(f'{kind} {count:,}' for kind, count in counts.items())
    lines = [f'  {sum(counts.values()):,} kernels a step: {kinds}; most of them:']
    for one in record['kernels_by_source'][:SHOWN]:
        lines.append(f'    {one["count"]:>10,}     {one["kind"]}  {one["source"]}')
    return lines
