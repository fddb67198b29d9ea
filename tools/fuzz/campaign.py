"""Fuzzing by the hundred thousand: `python tools/fuzz/campaign.py --inputs=100000 --seed=0`.

Every target runs in a process of its own, which is started again where a native library ends
it, so a crash, a hang or memory that grows is a row in the table like any other failure. The same
command continues after a stop.
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent import futures
from multiprocessing.connection import Connection
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

# Module -> its targets, each with its share of the inputs in thousandths. Costly ones have few: a
# checkpoint takes a hundred times as long as a line of text.
SHARES: dict[str, dict[str, int]] = {
    'text_targets': {
        'text': 220,
        'jsonl': 200,
        'compressed': 90,
        'mixture': 20,
        'tfds': 6,
        'build': 2,
        'settings': 1,
    },
    'shard_targets': {'corpus': 10, 'tokenizer': 8},
    'config_targets': {'recipe': 70, 'words': 15, 'phrases': 90},
    'checkpoint_targets': {'ours': 1, 'google': 40, 'google_files': 70, 'huggingface': 6},
    'task_targets': {'tables': 45, 'tagging': 40, 'questions': 33, 'incoming': 32},
    'predict_targets': {'predict': 1},
    'known_corpus_targets': {'known_text': 120, 'known_jsonl': 80},
    'known_task_targets': {
        'known_tables': 80,
        'known_tagging': 80,
        'known_questions': 60,
        'known_incoming': 60,
    },
    'known_record_targets': {'known_tfrecord': 40, 'known_parquet': 30},
    'known_tokenizer_targets': {'known_vocab': 40, 'known_folders': 10},
}
# Ends of inputs, of `target`, whose positions are those of their counts.
*FINE, FAILURE = ENDS = ('right', 'reported', 'refused', 'WRONG')
CURRENT = len(ENDS)  # position of the number of an input
_CPU_SECONDS = 20  # of one input
_QUIET_SECONDS = 1200  # without an input finished, on a machine that others use too
_GROWTH_BYTES = 1 << 30  # of the process, by one input
_SPACE_BYTES = 24 << 30  # of addresses; libraries reserve much that they never touch


class HungError(BaseException):
    """An input took too long; no `except Exception` on the way catches this."""


def find_target(name: str) -> Any:
    """The target of that name; imports only the part of the program that it needs."""
    module = next((m for m, targets in SHARES.items() if name in targets), None)
    if module is None:
        known = [name for targets in SHARES.values() for name in targets]
        raise SystemExit(f'no such target: {name}; the targets are {", ".join(known)}')
    targets = importlib.import_module(f'tools.fuzz.{module}').TARGETS
    return next(one for one in targets if one.name == name)


def shares(inputs: int, only: list[str]) -> dict[str, int]:
    """How many inputs each target gets, at least one; `only`: names, or beginnings of names."""
    every = {name: share for targets in SHARES.values() for name, share in targets.items()}
    unknown = [one for one in only if not any(name.startswith(one) for name in every)]
    if unknown:
        raise SystemExit(f'no such target: {", ".join(unknown)}')
    begins = tuple(one for one in only if one not in every)
    chosen = {
        name: share
        for name, share in every.items()
        if not only or name in only or (begins and name.startswith(begins))
    }
    return {name: -(-inputs * share // sum(chosen.values())) for name, share in chosen.items()}


# ---------------------------------------------------------------------------------------------
# The worker


def work(
    name: str,
    seed: int,
    first: int,
    stop: int,
    until: float,
    kept: str,
    counts: Any,
    pipe: Connection,
) -> None:
    """Tries inputs `first` to `stop` of a target; failures go through the pipe at once.

    None is begun after `until`, seconds since the epoch. Files of failures are copied to `kept`.
    """
    from tools.fuzz.target import generator, judge

    # Libraries print pages about damage that they also report by an error.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _hung)
    target = find_target(name)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='fuzz-', dir=_quick_folder()))
    try:
        run = target.make(folder)
        resource.setrlimit(resource.RLIMIT_AS, (_SPACE_BYTES, _SPACE_BYTES))
        peak = _peak()
        for number in range(first, stop):
            if time.time() > until:
                break
            counts[CURRENT] = number
            signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS)
            try:
                outcome = judge(target, run, generator(seed, name, number))
                kind, message = outcome.kind, outcome.message
            except HungError:
                kind, message = FAILURE, f'hung: more than {_CPU_SECONDS} s of computing'
            signal.setitimer(signal.ITIMER_PROF, 0)
            grown, peak = _peak() - peak, _peak()
            if grown > _GROWTH_BYTES:
                kind, message = FAILURE, f'memory grew by {grown >> 20} MiB; {message}'
            if kind == FAILURE:
                case = folder / 'case'
                copied = pathlib.Path(kept) / f'{name}-{number}'
                if case.is_dir() and not copied.exists():
                    shutil.copytree(case, copied)
                    message += f'\nits files: {copied}'
                pipe.send((number, message))
            counts[ENDS.index(kind)] += 1
            counts[CURRENT] = number + 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hung(*_: object) -> None:
    raise HungError


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _quick_folder() -> str | None:
    return '/dev/shm' if os.access('/dev/shm', os.W_OK) else None


# ---------------------------------------------------------------------------------------------
# The parent


class Campaign:
    """What has been tried so far, on disk after every few seconds."""

    def __init__(
        self, path: pathlib.Path, seed: int, plan: dict[str, int], seconds: float = math.inf
    ) -> None:
        self._path, self.seed, self.plan = path, seed, plan
        self._seconds = seconds  # for each target
        self._lock, self.stopped = threading.Lock(), threading.Event()
        self.targets: dict[str, dict[str, Any]] = {
            name: {'inputs': number, 'next': 0, 'seconds': 0.0, 'failures': []}
            | dict.fromkeys(FINE, 0)
            for name, number in plan.items()
        }
        if path.exists():
            kept = json.loads(path.read_text())
            if kept['seed'] != seed or {n: t['inputs'] for n, t in kept['targets'].items()} != plan:
                raise SystemExit(f'{path} is another campaign: name another --out, or delete it')
            self.targets = kept['targets']
        self._started, self._done_before = time.monotonic(), self.done()

    def done(self) -> int:
        """Inputs tried."""
        return sum(one['next'] for one in self.targets.values())

    def save(self) -> None:
        """Writes everything, whole or not at all."""
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix('.tmp')
            content = {'seed': self.seed, 'targets': self.targets}
            fresh.write_text(json.dumps(content, indent=1) + '\n')
            fresh.replace(self._path)

    def report(self, name: str) -> None:
        """One line: how far, how fast, how long."""
        one, done, total = self.targets[name], self.done(), sum(self.plan.values())
        seconds = max(time.monotonic() - self._started, 1e-9)
        speed = (done - self._done_before) / seconds
        left = f'{(total - done) / speed / 60:.1f} min left' if speed else 'just begun'
        failures = sum(len(t['failures']) for t in self.targets.values())
        print(
            f'{done:,} of {total:,} inputs, {speed:.0f} a second, {left}; {name} '
            f'{one["next"]:,} of {one["inputs"]:,}; failures: {failures}',
            flush=True,
        )

    def run(self, name: str) -> None:
        """One target to its end, with as many processes one after another as it takes."""
        one = self.targets[name]
        while one['next'] < one['inputs'] and not self.stopped.is_set():
            left = self._seconds - one['seconds']
            if left <= 0:
                return
            before = time.monotonic()
            ended = self._one_process(name, time.time() + left)
            one['seconds'] += time.monotonic() - before
            if ended is not None:
                one['failures'].append([one['next'], ended])
                one['next'] += 1
            self.save()

    def _one_process(self, name: str, until: float) -> str | None:
        """Runs a worker until it has finished (None), or until it is dead (why)."""
        one = self.targets[name]
        context = multiprocessing.get_context('spawn')
        counts = context.Array('q', [*(one[end] for end in FINE), 0, one['next']])
        ours, theirs = context.Pipe(duplex=False)
        first, stop = one['next'], one['inputs']
        process = context.Process(
            target=work,
            args=(
                name, self.seed, first, stop, until, str(self._path.parent / 'wrong'), counts,
                theirs,
            ),
            daemon=True,
        )  # fmt: skip
        process.start()
        theirs.close()
        moved = reported = time.monotonic()
        while process.is_alive():
            process.join(0.5)
            now = time.monotonic()
            if self._take(one, counts, ours):
                moved = now
            if now - reported > 10:
                reported = now
                self.save()
                self.report(name)
            hung = now - moved > _QUIET_SECONDS
            if hung or self.stopped.is_set():
                process.kill()
                process.join()
                self._take(one, counts, ours)
                return f'hung: nothing for {_QUIET_SECONDS} s, killed' if hung else None
        self._take(one, counts, ours)
        return None if process.exitcode == 0 else f'the process died ({process.exitcode})'

    def _take(self, one: dict[str, Any], counts: Any, pipe: Connection) -> bool:
        before = one['next']
        one |= dict(zip(FINE, counts, strict=False)) | {'next': counts[CURRENT]}
        try:
            while pipe.poll():
                one['failures'].append(list(pipe.recv()))
        except EOFError:
            pass
        return one['next'] != before

    def table(self) -> str:
        """Markdown: a row for each target."""
        lines = [
            f'| target | inputs | {" | ".join(ENDS)} | inputs a second |',
            f'| --- |{" ---: |" * (len(ENDS) + 2)}',
        ]
        sums = [0] * (len(ENDS) + 1)
        for name, one in self.targets.items():
            row = [one['next'], *(one[end] for end in FINE), len(one['failures'])]
            sums = [a + b for a, b in zip(sums, row, strict=True)]
            speed = one['next'] / one['seconds'] if one['seconds'] else 0
            lines.append(f'| {name} | ' + ' | '.join(f'{n:,}' for n in row) + f' | {speed:,.0f} |')
        lines.append('| all | ' + ' | '.join(f'{n:,}' for n in sums) + ' | |')
        return '\n'.join(lines)


def try_one(name: str, seed: int, number: int) -> None:
    """One input again, in this process, printed with its outcome."""
    from tools.fuzz.target import generator, judge

    target = find_target(name)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='fuzz-'))
    print(*judge(target, target.make(folder), generator(seed, name, number)))
    print(f'its files are in {folder}')


def main() -> None:
    """Reads the command line, runs what is left to run, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--inputs', type=int, default=100_000, help='over all targets')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seconds', type=float, default=math.inf, help='over all targets')
    parser.add_argument('--processes', type=int, default=1, help='targets that run at a time')
    parser.add_argument(
        '--only', default='', help='targets, or beginnings of their names, with commas'
    )
    parser.add_argument('--out', default='runs/fuzz', help='folder of campaign.json and table.md')
    parser.add_argument('--again', default='', help='TARGET:NUMBER, to try one input again')
    asked = parser.parse_args()
    if asked.again:
        name, _, number = asked.again.partition(':')
        try_one(name, asked.seed, int(number))
        return
    only = [name for name in asked.only.split(',') if name]
    out = pathlib.Path(asked.out)
    plan = shares(asked.inputs, only)
    seconds = asked.seconds * asked.processes / len(plan)
    campaign = Campaign(out / 'campaign.json', asked.seed, plan, seconds)
    pool = futures.ThreadPoolExecutor(asked.processes)
    try:
        for _ in pool.map(campaign.run, plan):
            pass
    except KeyboardInterrupt:
        campaign.stopped.set()
        pool.shutdown(cancel_futures=True)
        campaign.save()
        raise SystemExit('\nstopped; the same command continues') from None
    campaign.save()
    (out / 'table.md').write_text(campaign.table() + '\n')
    print(campaign.table())
    failed = [(n, f) for n, one in campaign.targets.items() for f in one['failures']]
    for name, (number, message) in failed[:20]:
        print(f'\n--again={name}:{number}\n{message}')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ['PYTHONPATH'] = f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    main()
