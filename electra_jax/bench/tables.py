"""Records for people: lines for the terminal, a Markdown table, and the panels of a plot."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from electra_jax.bench.records import Record
from electra_jax.runtime import terminal
from electra_jax.sweep.plot import Line, Panel
from electra_jax.sweep.table import in_order

GIB = 2**30


def cost(record: Record) -> float:
    """Microseconds per token."""
    return 1e6 / float(record['tokens_per_second'])


def compile_seconds(record: Record) -> float:
    """Of XLA."""
    return float(record['compile_seconds'])


def text(record: Record) -> str:
    """A record for the terminal."""
    config, ready = record['config'], record['ready']
    lines = [
        f'{record["config_name"]}, {config["batch_size"]} x {config["data"]["row_length"]}, '
        f'{ready["devices"]}, {ready["dtype"]}',
        *(program_line(one) for one in (record, *record['peers'])),
    ]
    if record['ratio']:
        lines.append(f'  ratio to {record["peer"]}: {record["ratio"]:.2f}')
    for key, form, words in (
        ('ratio_of_processor_time', '.2f', 'ratio in processor time'),
        ('ratio_of_real_tokens', '.2f', 'ratio in tokens that are not padding'),
        ('mfu', '.1%', 'MFU'),
        ('input_share', '.1%', 'share of time spent waiting for input'),
        ('real_token_share', '.1%', 'tokens that are not padding'),
        ('same_answers', 'd', f'answers that agree, of {record.get("rows")}'),
    ):
        if record.get(key) is not None:
            lines.append(f'  {words}: {record[key]:{form}}')
    lines += [
        f'  ratio of the first pass, compilation included, to {name}: {value:.2f}'
        for name, value in record.get('first_pass_ratios', {}).items()
    ]
    return '\n'.join(lines)


def program_line(one: Mapping[str, Any]) -> str:
    """One program's speed, the spread of its steps and its memory."""
    seconds = one.get('step_seconds') or one['pass_seconds']
    spread = '/'.join(f'{seconds[name]:.3f}' for name in ('p10', 'p50', 'p90', 'max'))
    return (
        f'  {one["name"]:<38}{one["tokens_per_second"]:>12,.0f} tokens/s   '
        f'{spread} s   {one["peak_memory_bytes"] / GIB:.2f} GiB'
    )


# Column -> its text from a record.
COLUMNS: dict[str, Callable[[Record], str | None]] = {
    'recipe': lambda r: r['config_name'],
    'rows x length': lambda r: f'{r["config"]["batch_size"]} x {r["config"]["data"]["row_length"]}',
    'layers': lambda r: str(r['config']['model']['num_layers']),
    'dtype': lambda r: r['ready']['dtype'],
    'tokens/s': lambda r: f'{r["tokens_per_second"]:,.0f}',
    'us/token': lambda r: f'{cost(r):.3g}',
    'MFU': lambda r: f'{r["mfu"]:.1%}',
    'GiB': lambda r: f'{r["peak_memory_bytes"] / GIB:.2f}',
    'step p50 / p90, ms': lambda r: ' / '.join(
        f'{1000 * r["step_seconds"][name]:.1f}' for name in ('p50', 'p90')
    ),
    'compiled in, s': lambda r: f'{r["compile_seconds"]:.0f}',
    'peer': lambda r: r['peer'],
    'peer tokens/s': lambda r: f'{r["peer_tokens_per_second"]:,.0f}',
    'peer GiB': lambda r: f'{r["peer_memory_bytes"] / GIB:.2f}',
    'ratio': lambda r: f'{r["ratio"]:.2f}',
}


def markdown(records: Sequence[Record]) -> str:
    """A row for each record, then a line about where and when it was measured.

    Columns that no record fills are left out.
    """
    rows = [{name: _cell(get, record) for name, get in COLUMNS.items()} for record in records]
    names = [name for name in COLUMNS if any(row[name] for row in rows)]
    table = terminal.markdown(names, [[row[name] for name in names] for row in rows])
    return f'{table}\n{caption(records[-1])}\n'


def _cell(get: Callable[[Record], str | None], record: Record) -> str:
    try:
        return get(record) or ''
    except (KeyError, TypeError):  # not measured, or not known here
        return ''


def caption(record: Record) -> str:
    """Where, when and with which packages it was measured."""
    packages, machine = record['packages'], record['machine']
    named = ' '.join(
        f'{name} {packages[name]}' for name in ('jax', 'torch', 'transformers') if packages[name]
    )
    return (
        f'{record["ready"]["devices"]}, host {machine["processor"]}, {machine["cores"]} cores, '
        f'{named}, {record["date"][:10]}, revision {(record["revision"] or "unknown")[:12]}.'
    )


def panels(records: Sequence[Record], axes: Sequence[str]) -> list[Panel]:
    """Time per token against each setting that was varied, and compile time against depth."""
    drawn = [(axis, 'time per token, us', cost) for axis in axes]
    if 'model.num_layers' in axes:
        drawn.append(('model.num_layers', 'compile time, s', compile_seconds))
    made = []
    for axis, label, value in drawn:
        lines = []
        for name, line in series(records, axis).items():
            ticks = [record['varied'][axis] for record in line]
            lines.append(Line(name or 'electra_jax', ticks, [value(record) for record in line]))
            if value is cost and all(record['peer'] for record in line):
                theirs = [1e6 / record['peer_tokens_per_second'] for record in line]
                lines.append(Line(f'{name} {line[0]["peer"]}'.strip(), ticks, theirs, 's--'))
        made.append(Panel(axis, label, lines, from_zero=True))
    return made


def series(records: Sequence[Record], axis: str) -> dict[str, list[Record]]:
    """Records along an axis, by what else varies among them, in the order of the axis."""
    lines: dict[str, list[Record]] = {}
    for record in records:
        if axis in record['varied']:
            others = {k: v for k, v in record['varied'].items() if k != axis}
            name = ', '.join(f'{key} {value}' for key, value in others.items())
            lines.setdefault(name, []).append(record)
    return {
        name: sorted(line, key=lambda record: in_order(record['varied'][axis]))
        for name, line in lines.items()
    }
