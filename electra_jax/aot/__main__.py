"""Compiles a config's train step for a TPU slice that is not here, and says what it will cost.

``python -m electra_jax.aot --config=configs/base.py --topology=v5e:4x4``: whether it fits, by how
much, what it reads, writes and sends, and how fast the chips could be at most. It needs the TPU
compiler (``pip install -e '.[tpu_compile]'``) and no TPU, no text, and no accelerator.
"""

import json

from absl import flags as absl_flags

from electra_jax.aot import compile, suggest, topologies
from electra_jax.config.settings import Config
from electra_jax.model.flops import training_flops
from electra_jax.objectives.definition import Vocabulary
from electra_jax.parallel import chips, report
from electra_jax.pretrain import program as runs
from electra_jax.runtime import cli
from electra_jax.tokenizers.api import SpecialIds

CONFIG = cli.config_flag()
TOPOLOGY = absl_flags.DEFINE_string(
    'topology', 'v5e:4x4', 'generation and chips along each side, such as v5e:16x16 or v5p:8x8x8'
)
SLICES = absl_flags.DEFINE_integer('slices', 1, 'so many slices of that topology', lower_bound=1)
JSON = absl_flags.DEFINE_bool('json', False, 'print one JSON object instead of a table')
TRY_SECONDS = absl_flags.DEFINE_float(
    'try_seconds',
    60.0,
    'where the step does not fit: settings that might are compiled if one compilation took no '
    'longer than this, else estimated',
)
SHOWN = 10  # of each kind in the table; JSON has more


def main(config: Config) -> None:
    """Compiles, reports, and where it does not fit looks for what does."""
    devices = topologies.devices(TOPOLOGY.value, SLICES.value)
    vocabulary = Vocabulary(config.data.tokenizer.vocab_size, SpecialIds(0, 100, 101, 102, 103))

    def build(config: Config) -> runs.Program:
        return runs.build_program(config, vocabulary, devices)

    def compiled(program: runs.Program) -> compile.Compiled:
        return compile.compile_step(program.step, program.abstract, runs.abstract_batch(program))

    program = build(config)
    made = compiled(program)
    record = describe(program, made)
    if not record['fits']:
        used = suggest.memory(made.hbm_bytes, record['hbm_limit_bytes'], program.abstract)
        cheap = made.seconds <= TRY_SECONDS.value
        found = suggest.nearest(
            config, used, program.mesh, (lambda other: compiled(build(other))) if cheap else None
        )
        record['suggestion'] = found._asdict() if found else None
    print(json.dumps(record) if JSON.value else as_table(record))


def describe(program: runs.Program, made: compile.Compiled) -> dict:
    """Everything that is known, under the names of the JSON form."""
    config, mesh = program.config, program.mesh
    tokens = config.batch_size * config.data.row_length
    flops = training_flops(config, program.vocabulary.size, program.objective.parts)
    chip = chips.chip(mesh.devices.flat[0])
    return {
        'config': cli.recipe_name(CONFIG),
        'topology': TOPOLOGY.value,
        'slices': SLICES.value,
        'device': report.mesh_line(mesh),
        'rows': config.batch_size,
        'row_length': config.data.row_length,
        'tokens_per_chip': tokens / mesh.size,
        'attention': config.model.attention,
        'remat': config.model.remat,
        **compile.account(made, chip, mesh, tokens, flops),
        'suggestion': None,
    }


def as_table(record: dict) -> str:
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


def cost_lines(record: dict) -> list[str]:
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


def suggestion_line(found: dict | None) -> str:
    """What to type instead."""
    if found is None:
        return 'no smaller setting was found that fits: take more chips, or a smaller model'
    words = ' '.join(f'--config.{name}={value}' for name, value in found['changes'].items())
    how = 'compiled' if found['compiled'] else 'by estimate'
    return f'what fits ({how}, {found["hbm_bytes"] / 2**30:.2f} GiB a chip): {words}'


if __name__ == '__main__':
    cli.run(main, CONFIG)
