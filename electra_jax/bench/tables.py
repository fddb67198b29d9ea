"""Records for people: lines for the terminal, a Markdown table, and what a sweep proves."""

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.bench.records import Record

GIB = 2**30
FLAT = 0.10  # by how much the dearest token may cost more than the cheapest one
FLAT_COMPILATION = 0.25  # the same for compile time against depth


def cost(record: Record) -> float:
    """Microseconds a token."""
    return 1e6 / record['tokens_per_second']


def text(record: Record) -> str:
    """A record for the terminal."""
    config, ready = record['config'], record['ready']
    lines = [
        f'{record["config_name"]}, {config["batch_size"]} x {config["data"]["row_length"]}, '
        f'{ready["devices"]}, {ready["dtype"]}',
        *(line(one) for one in (record, *record['peers'])),
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


def line(one: Mapping[str, Any]) -> str:
    """One program's speed, the spread of its steps and its memory."""
    seconds = one.get('step_seconds') or one['pass_seconds']
    spread = '/'.join(f'{seconds[name]:.3f}' for name in ('p10', 'p50', 'p90', 'max'))
    return (
        f'  {one["name"]:<38}{one["tokens_per_second"]:>12,.0f} tokens/s   '
        f'{spread} s   {one["peak_memory_bytes"] / GIB:.2f} GiB'
    )


# Column -> what of a record stands there, as text.
COLUMNS: dict[str, Any] = {
    'recipe': lambda r: r['config_name'],
    'rows x length': lambda r: f'{r["config"]["batch_size"]} x {r["config"]["data"]["row_length"]}',
    'layers': lambda r: r['config']['model']['num_layers'],
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
    """A row a record; columns that no record fills are left out.

    The caption says where and when it was measured.
    """
    rows = [{name: _cell(get, record) for name, get in COLUMNS.items()} for record in records]
    names = [name for name in COLUMNS if any(row[name] for row in rows)]
    lines = [names, ['---'] * len(names), *([row[name] for name in names] for row in rows)]
    table = ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)
    return f'{table}\n{caption(records[-1])}\n' if records else ''


def _cell(get, record: Record) -> str:
    try:
        value = get(record)
    except (KeyError, TypeError):  # not measured, or not known here
        return ''
    return '' if value is None else str(value)


def caption(record: Record) -> str:
    """Where, when and with what."""
    packages, machine = record['packages'], record['machine']
    named = ' '.join(
        f'{name} {packages[name]}' for name in ('jax', 'torch', 'transformers') if packages[name]
    )
    return (
        f'{record["ready"]["devices"]}, host {machine["processor"]}, {machine["cores"]} cores, '
        f'{named}, {record["date"][:10]}, revision {(record["revision"] or "unknown")[:12]}.'
    )


def series(records: Sequence[Record], axis: str) -> dict[str, list[Record]]:
    """Records along an axis, by what else is varied among them, in the order of the axis."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if axis in record['varied']:
            others = {k: v for k, v in record['varied'].items() if k != axis}
            name = ', '.join(f'{key} {value}' for key, value in others.items())
            found.setdefault(name, []).append(record)
    return {name: sorted(line, key=lambda r: place(r, axis)) for name, line in found.items()}


def place(record: Record, axis: str) -> float:
    """Where a record stands on an axis of numbers; 0 for words, whose order is that given."""
    try:
        return float(record['varied'][axis])
    except ValueError:
        return 0.0


def checks(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What must not grow: time per token with the batch, compile time with depth.

    Returns:
        For each series of at least two records: 'check', 'values', 'spread' (the largest over
        the smallest, less 1), 'limit' and 'passed'.
    """
    found = []
    for axis, name, limit, value in (
        ('batch_size', 'time per token, us', FLAT, cost),
        ('model.num_layers', 'compile time, s', FLAT_COMPILATION, lambda r: r['compile_seconds']),
    ):
        for others, line in series(records, axis).items():
            values = {record['varied'][axis]: value(record) for record in line}
            if len(values) < 2:
                continue
            spread = max(values.values()) / min(values.values()) - 1
            found.append(
                {
                    'check': f'{name}, over {axis}' + (f' with {others}' if others else ''),
                    'values': values,
                    'spread': spread,
                    'limit': limit,
                    'passed': spread <= limit,
                }
            )
    return found


def check_line(check: Mapping[str, Any]) -> str:
    """A check in words."""
    values = ', '.join(f'{key}: {value:.3g}' for key, value in check['values'].items())
    verdict = 'flat' if check['passed'] else 'NOT flat'
    return (
        f'{check["check"]}: {values}; spread {check["spread"]:.1%}, '
        f'{verdict} (limit {check["limit"]:.0%})'
    )
