"""Fault harness: injects faults into training runs at random moments and compares how they end.

    python -m tools.faults.harness --rounds=100 --folder=/tmp/faults

makes undisturbed runs first, of one process and of two. Each round then starts the same run in a
new folder, injects one fault (`faults.FAULTS`, in turn, in random order), repeats the same command
until the run ends, and compares with the undisturbed run: every array of the last checkpoint bit
for bit, and every line of metrics.jsonl. The same command after a stop continues with the rounds
that are not finished. The folder then holds rounds.jsonl (a line a round), results.json and
results.md, and the folders of rounds that went wrong. The exit status is 1 if any did.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent import futures
from typing import Any

from electra_jax.runtime.terminal import markdown
from tools.faults import faults, namespaces, processes, rounds, setting

_TRIES = 12  # to hit the moment of a fault
_COLUMNS = ('rounds', 'starts', 'lost checkpoints', 'hangs', 'differences', 'complaints')


class References:
    """Undisturbed runs, each made once, when a round first asks for it."""

    def __init__(self, where: setting.Setting, spans: rounds.Spans):
        self._where, self._spans = where, spans
        self._locks = collections.defaultdict(threading.Lock)

    def __call__(self, hosts: int) -> dict[str, Any]:
        """What a run of so many processes leaves (`compare.record`)."""
        path = self._where.folder / f'undisturbed_{hosts}.json'
        with self._locks[hosts]:
            if not path.exists():
                print(f'an undisturbed run of {hosts} process(es) ...', flush=True)
                folder = self._where.folder / f'undisturbed_{hosts}'
                shutil.rmtree(folder, ignore_errors=True)
                record = rounds.undisturbed(self._where, folder, hosts, self._spans)
                path.write_text(json.dumps(record))
            return json.loads(path.read_text())


def run_round(
    number: int,
    name: str,
    seed: int,
    where: setting.Setting,
    spans: rounds.Spans,
    references: References,
) -> dict[str, Any]:
    """Runs one round, again with another moment where the fault came too late."""
    missed = []
    for attempt in range(_TRIES):
        draw = random.Random(f'{seed}:{number}:{attempt}')
        folder = where.folder / 'rounds' / f'{number:04d}_{attempt}'
        shutil.rmtree(folder, ignore_errors=True)
        run = rounds.Round(where, folder, draw, spans, references)
        began = time.monotonic()
        differences, hangs, keep = [], [], True
        try:
            faults.FAULTS[name](run)
            differences = run.finish()
            keep = bool(differences or run.lost or run.complaints)
        except processes.Missed as reason:
            missed.append(str(reason))
            run.learn(run.started[-1])  # the machine has become faster
            keep = False
            continue
        except processes.Hang as hang:
            hangs.append(str(hang))
        finally:
            run.close(keep)
        return {
            'round': number,
            'fault': name,
            'notes': run.notes,
            'starts': len(run.started),
            'lost checkpoints': run.lost,
            'hangs': hangs,
            'differences': differences,
            'complaints': run.complaints,
            'missed': missed,
            'seconds': round(time.monotonic() - began, 1),
        }
    raise SystemExit(f'round {number}: {name} could not be injected: {missed}')


def order(seed: int, count: int, names: list[str]) -> list[str]:
    """The fault of each round: all in turn, shuffled each time."""
    names_in_order: list[str] = []
    while len(names_in_order) < count:
        turn = list(names)
        random.Random(f'{seed}:{len(names_in_order)}').shuffle(turn)
        names_in_order += turn
    return names_in_order[:count]


def table(done: list[dict[str, Any]], unable: dict[str, str]) -> str:
    """A Markdown table of all rounds, one line for each fault."""
    sums: dict[str, collections.Counter] = {}
    for one in done:
        counts = sums.setdefault(one['fault'], collections.Counter())
        counts['rounds'] += 1
        counts['starts'] += one['starts']
        for column in _COLUMNS[2:]:
            counts[column] += len(one[column])
    sums = {name: sums[name] for name in faults.FAULTS if name in sums}
    total = sum(sums.values(), collections.Counter())
    rows = [
        [name, *(str(counts[column]) for column in _COLUMNS)]
        for name, counts in {**sums, '**all**': total}.items()
    ]
    notes = [f'\nNot run: {name}: {reason}.' for name, reason in unable.items()]
    return '\n'.join([markdown(['fault', *_COLUMNS], rows).rstrip(), *notes])


def line(one: dict[str, Any], count: int, total: int, seconds_each: float) -> str:
    """A line about a finished round."""
    wrong = [f'{column}: {one[column]}' for column in _COLUMNS[2:] if one[column]]
    verdict = 'WRONG ' + '; '.join(wrong) if wrong else 'ok'
    return (
        f'{count}/{total} {one["fault"]}: {verdict} ({"; ".join(one["notes"])}) '
        f'{one["seconds"]:.0f} s, ETA {(total - count) * seconds_each / 60:.0f} min'
    )


def unmount_leftovers(folder: pathlib.Path) -> None:
    """File systems that a killed harness has left mounted below `folder`."""
    for mount in pathlib.Path('/proc/mounts').read_text().splitlines():
        mounted_at = mount.split()[1]
        if mounted_at.startswith(f'{folder.resolve()}/'):
            subprocess.run(['umount', mounted_at], check=True)


def main(words: Sequence[str] | None = None) -> int:
    """Reads the command line (None: this process's); returns 0 where every round went well."""
    words = sys.argv[1:] if words is None else list(words)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=pathlib.Path, required=True, help='of all files')
    parser.add_argument('--rounds', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=1, help='rounds that run at a time')
    parser.add_argument(
        '--stand-in', action='store_true', help='one matrix in place of the networks'
    )
    parser.add_argument('--only', nargs='+', help='parts of names of faults')
    args = parser.parse_args(words)
    where = setting.prepare(args.folder, args.stand_in)
    unmount_leftovers(where.folder)
    namespaces.remove_leftovers()
    processes.preload()
    spans = rounds.Spans()
    names = faults.chosen(args.only)
    unable = {name: why for name in names if (why := faults.unable(name))}
    names = [name for name in names if name not in unable]
    references = References(where, spans)
    references(1)  # first: it fills the cache of compiled programs
    record = where.folder / 'rounds.jsonl'
    done = setting.read_lines(record)
    record.write_text(''.join(json.dumps(one) + '\n' for one in done))  # without a torn line
    finished = {one['round'] for one in done}
    to_do = [
        (number, name)
        for number, name in enumerate(order(args.seed, args.rounds, names))
        if number not in finished
    ]
    began, before = time.monotonic(), len(done)

    def one_round(task: tuple[int, str]) -> dict[str, Any]:
        return run_round(*task, args.seed, where, spans, references)

    with futures.ThreadPoolExecutor(args.jobs) as pool:
        for future in futures.as_completed([pool.submit(one_round, t) for t in to_do]):
            if future.exception():  # the harness itself failed: the others need not be awaited
                pool.shutdown(wait=False, cancel_futures=True)
            one = future.result()
            done.append(one)
            with record.open('a') as file:
                file.write(json.dumps(one) + '\n')
            each = (time.monotonic() - began) / (len(done) - before)
            print(line(one, len(done), args.rounds, each), flush=True)
            shown = table(done, unable)
            (where.folder / 'results.md').write_text(shown + '\n')
            results = {'arguments': words, 'rounds': done, 'not run': unable}
            (where.folder / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    print(table(done, unable))
    return 1 if any(one[column] for one in done for column in _COLUMNS[2:]) else 0


if __name__ == '__main__':
    sys.exit(main())
