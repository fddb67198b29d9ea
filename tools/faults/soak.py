"""Soak: trains for an hour or more and reports goodput, and whether memory or open files grow.

    python -m tools.faults.soak --folder=/tmp/soak --workdir=/tmp/soak/run --minutes=60 -- \
        python -m electra_jax.main --config=configs/laptop.py --workdir=/tmp/soak/run

runs the command after `--` for that long (then SIGTERM, after which it must save and end)
and samples its whole process tree every few seconds. Without a command, it reports on samples that
exist already, also of a run that has not ended:

    python -m tools.faults.soak --folder=/tmp/soak --workdir=/tmp/soak/run

Both print a table, write soak.json and soak.png into the folder, and end with status 1 where a
limit is exceeded. Samples are lines of `seconds since the epoch, resident kB, open files`.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot

from electra_jax.runtime.terminal import markdown

SAMPLES_FILE = 'samples.csv'
_END_SECONDS = 600  # that the command may take to save and end
_WINDOW_SECONDS = 600  # of the first and of the last samples that are compared, at most


class Limits(NamedTuple):
    """The largest growth and the smallest goodput allowed, as shares."""

    growth: float
    goodput: float


def process_tree(root: int) -> list[int]:
    """`root` and everything below it."""
    children: dict[int, list[int]] = {}
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            # The name, in brackets, may hold anything.
            parent = int(stat.read_text().rpartition(')')[2].split()[1])
        except OSError:
            continue  # ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    tree = [root]
    for process in tree:  # grows while it is walked
        tree += children.get(process, [])
    return tree


def measure(root: int) -> tuple[int, int]:
    """Resident memory in kB (shared pages count in each process) and open files of a tree."""
    memory = files = 0
    for process in process_tree(root):
        folder = pathlib.Path(f'/proc/{process}')
        try:
            status = (folder / 'status').read_text()
            files += len(list((folder / 'fd').iterdir()))
        except OSError:
            continue
        memory += sum(
            int(line.split()[1]) for line in status.splitlines() if line.startswith('VmRSS')
        )
    return memory, files


def run(command: list[str], samples: pathlib.Path, minutes: float, every: float) -> int:
    """Runs `command` for some time and samples it; returns its exit status."""
    began = time.monotonic()
    with samples.open('w') as file:
        process = subprocess.Popen(command)
        stopping = False
        while process.poll() is None:
            spent = time.monotonic() - began
            if not stopping and spent > minutes * 60:
                process.send_signal(signal.SIGTERM)
                stopping = True
            if spent > minutes * 60 + _END_SECONDS:
                process.kill()
            memory, files = measure(process.pid)
            if memory and not stopping:  # the end is not part of the soak
                file.write(f'{time.time():.1f},{memory},{files}\n')
                file.flush()
            time.sleep(every)
    return process.returncode


def windows(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the samples [S] are in the first and in the last window: bool [S] each."""
    span = seconds[-1] - seconds[0]
    window = min(_WINDOW_SECONDS, span / 5)
    return seconds <= seconds[0] + window, seconds >= seconds[-1] - window


def steadiness(seconds: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The growth of `values` [S] over `seconds` [S], as shares of their mean.

    Two ways: of a straight line through all, and from the mean of the first to the mean of the
    last window.
    """
    first, last = (float(values[window].mean()) for window in windows(seconds))
    slope = np.polyfit(seconds - seconds[0], values, 1)[0]
    return {
        'fit': float(slope * (seconds[-1] - seconds[0]) / values.mean()),
        'windows': (last - first) / float(values.mean()),
        'first': first,
        'last': last,
    }


def stepping_share(metrics: pathlib.Path, wall_seconds: float) -> float | None:
    """Goodput: the newest that the run has written, else steps over their rate, of wall time."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    written = [line['speed/goodput'] for line in lines if 'speed/goodput' in line]
    if written:
        return written[-1]
    counted, waiting, rate, stepping = 0, 0, None, 0.0
    for line in lines:
        waiting = line['step'] - counted  # steps whose speed a later line holds
        if 'speed/steps_per_second' in line:
            rate = line['speed/steps_per_second']
            stepping, counted, waiting = stepping + waiting / rate, line['step'], 0
    stepping += waiting / rate if rate else 0.0
    return stepping / wall_seconds if stepping else None


def analyse(
    samples: pathlib.Path, metrics: pathlib.Path, warmup: float, limits: Limits
) -> dict[str, object]:
    """Summarizes samples and metrics; shares, kB, seconds.

    Args:
        samples: file.
        metrics: metrics.jsonl of the run.
        warmup: seconds at the beginning that do not count.
        limits: that must hold.
    """
    table = np.loadtxt(samples, delimiter=',', ndmin=2)
    seconds = table[:, 0] - table[0, 0]
    after = seconds >= warmup
    if after.sum() < 10:
        sys.exit(f'{samples}: fewer than 10 samples after {warmup:.0f} s of warm-up')
    memory = steadiness(seconds[after], table[after, 1])
    # Saving opens files for a moment; one that is never closed raises every later sample.
    files = [int(table[after, 2][window].min()) for window in windows(seconds[after])]
    grown = max(abs(memory['fit']), abs(memory['windows']))
    goodput = stepping_share(metrics, metrics.stat().st_mtime - table[0, 0])
    return {
        'minutes': seconds[-1] / 60,
        'warmup_minutes': warmup / 60,
        'samples': len(table),
        'memory': memory | {'peak': float(table[:, 1].max())},
        'memory_flat': bool(grown <= limits.growth),
        'open_files': {
            'first': files[0],
            'last': files[1],
            'peak': int(table[:, 2].max()),
        },
        'open_files_flat': files[1] <= files[0],
        'goodput': goodput,
        'goodput_enough': goodput is not None and bool(goodput >= limits.goodput),
    }


def report(found: dict, limits: Limits) -> str:
    """A Markdown table."""
    memory, files = found['memory'], found['open_files']
    goodput = 'unknown' if found['goodput'] is None else f'{found["goodput"]:.1%}'
    verdict = {True: 'yes', False: '**no**'}
    rows: list[tuple[str, str, str]] = [
        (
            'minutes (of which warm-up)',
            f'{found["minutes"]:.1f} ({found["warmup_minutes"]:.1f})',
            '',
        ),
        ('memory, mean of the first window', f'{memory["first"] / 1e6:.3f} GB', ''),
        ('memory, mean of the last window', f'{memory["last"] / 1e6:.3f} GB', ''),
        ('memory, peak', f'{memory["peak"] / 1e6:.3f} GB', ''),
        (
            f'memory grown (line, windows; at most {limits.growth:.0%})',
            f'{memory["fit"]:+.2%}, {memory["windows"]:+.2%}',
            verdict[found['memory_flat']],
        ),
        (
            'open files, fewest in the first and the last window (peak)',
            f'{files["first"]}, {files["last"]} ({files["peak"]})',
            verdict[found['open_files_flat']],
        ),
        (f'goodput (at least {limits.goodput:.0%})', goodput, verdict[found['goodput_enough']]),
    ]
    return markdown(['', '', 'holds'], rows)


def plot(samples: pathlib.Path, warmup: float, path: pathlib.Path) -> None:
    """Memory and open files over time."""
    table = np.loadtxt(samples, delimiter=',', ndmin=2)
    minutes = (table[:, 0] - table[0, 0]) / 60
    figure, left = pyplot.subplots(figsize=(8, 3))
    left.plot(minutes, table[:, 1] / 1e6, linewidth=0.8)
    left.set(xlabel='minutes', ylabel='resident memory, GB', ylim=(0, None))
    left.axvline(warmup / 60, color='grey', linewidth=0.8, linestyle=':')
    right = left.twinx()
    right.plot(minutes, table[:, 2], color='tab:orange', linewidth=0.8)
    right.set(ylabel='open files', ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> int:
    """Reads the command line; 0 where every limit holds."""
    words, command = sys.argv[1:], []
    if '--' in words:
        words, command = words[: words.index('--')], words[words.index('--') + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=pathlib.Path, required=True, help='for results')
    parser.add_argument('--workdir', type=pathlib.Path, required=True, help='of the run')
    parser.add_argument('--samples', type=pathlib.Path, help='a file; FOLDER/samples.csv')
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--every', type=float, default=5, help='seconds between samples')
    parser.add_argument('--warmup', type=float, default=300, help='seconds that do not count')
    parser.add_argument('--growth', type=float, default=0.02)
    parser.add_argument('--goodput', type=float, default=0.9)
    args = parser.parse_args(words)
    args.folder.mkdir(parents=True, exist_ok=True)
    samples = args.samples or args.folder / SAMPLES_FILE
    status = run(command, samples, args.minutes, args.every) if command else 0
    limits = Limits(args.growth, args.goodput)
    found = analyse(samples, args.workdir / 'metrics.jsonl', args.warmup, limits)
    found['status'] = status
    (args.folder / 'soak.json').write_text(json.dumps(found, indent=2) + '\n')
    plot(samples, args.warmup, args.folder / 'soak.png')
    print(report(found, limits))
    if status:
        print(f'the command ended with status {status}')
    good = ('memory_flat', 'open_files_flat', 'goodput_enough')
    return 0 if not status and all(found[name] for name in good) else 1


if __name__ == '__main__':
    sys.exit(main())
