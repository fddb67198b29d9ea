"""A Dask cluster, examined before anything is built on it.

A scheduler that does not answer, a worker without the package, or a folder that a worker does not
see would otherwise end a build in its middle, or let it wait for ever.
"""

import argparse
import contextlib
import importlib.metadata
import os
import pathlib
import platform
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from electra_jax.core import files
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import messages
from electra_jax.runtime import terminal

_WATCH_SECONDS = 10.0  # between two looks at the workers while they build
RUNNER = 'apache_beam.runners.dask.dask_runner.DaskRunner'  # Beam has no shorter name for it
SHARED_NAME = '.shared'  # of the file by which workers know the folder
_ADDRESS = '--dask_client_address=tcp://HOST:8786'
_START = 'dask worker tcp://HOST:8786 --nworkers=auto --nthreads=1'
_MODULE = 'electra_jax.corpus.workers'  # what a worker imports
# What decides the bytes of a corpus, or how work reaches a worker.
_PACKAGES = (
    'apache-beam', 'array-record', 'cloudpickle', 'dask', 'distributed', 'numpy', 'sentencepiece',
    'tokenizers',
)  # fmt: skip


def check(options: Any) -> None:
    """Examines the cluster that the options of a DaskRunner name.

    Raises:
        DataError: no scheduler answers, it has no workers, or a worker has several threads, lacks
            a package or has another version of it.
    """
    with _client(options) as client:
        workers = client.scheduler_info(n_workers=-1)['workers']
        if not workers:
            raise DataError(
                f'the Dask scheduler at {client.scheduler.address} has no workers; on each machine '
                f'type: {_START}'
            )
        for address, worker in workers.items():
            if worker['nthreads'] > 1:
                raise DataError(
                    f'the Dask worker {_name(address, worker)} has {worker["nthreads"]} threads, '
                    'of which only one at a time can make rows: start a process for each core, by '
                    f'{_START}'
                )
        _check_packages(client, workers)


def check_shared(options: Any, folder: pathlib.Path, texts: Iterable[str]) -> None:
    """Refuses workers that do not see the folder of the corpus, or the files and folders of text.

    Raises:
        DataError: names the worker and what it does not see.
    """
    mark = folder / f'{SHARED_NAME}.{files.process_mark()}.tmp'
    mark.touch()
    try:
        with _client(options) as client:
            workers = client.scheduler_info(n_workers=-1)['workers']
            questions = (
                (os.path.exists, str(mark), 'data.path', folder),
                (os.access, str(folder), 'data.path', folder),
                *((os.path.exists, text, 'data.source', text) for text in texts),
            )
            for ask, path, setting, named in questions:
                more = (os.W_OK,) if ask is os.access else ()
                for address, answer in client.run(ask, path, *more).items():
                    if not answer:
                        raise DataError(
                            f'the Dask worker {_name(address, workers.get(address))} cannot '
                            f'{"write" if more else "see"} {named}: {setting} must be on a file '
                            'system that all workers share, under one absolute name'
                        )
    finally:
        mark.unlink(missing_ok=True)


def add_options() -> None:
    """Lets Beam know Dask's options, which otherwise it discards with a warning.

    Raises:
        DataError: Dask is not installed.
    """
    try:
        import distributed  # noqa: F401
        from apache_beam.runners.dask import dask_runner  # noqa: F401
    except (ImportError, AttributeError) as error:
        raise DataError(
            f'data.runner_options names Dask, which is not installed ({error}): type '
            "pip install -e '.[dask]' (the workers need the same)"
        ) from error


def complete(options: Any) -> None:
    """Makes each piece a task of its own; Beam's default gives 128 of them to one worker.

    Raises:
        ConfigError: an option is unknown, or none names a scheduler.
        DataError: the file that names a scheduler is not there.
    """
    import dask.config
    from apache_beam.runners.dask.dask_runner import DaskOptions

    unknown = {*options.get_all_options(retain_unknown_options=True)} - {*options.get_all_options()}
    if unknown:
        parser = argparse.ArgumentParser(add_help=False)
        DaskOptions._add_argparse_args(parser)
        known = re.findall(r'--\w+', parser.format_usage())
        raise ConfigError(
            f'data.runner_options has --{min(unknown)}, which no option of Beam is called; those '
            f'of Dask are {", ".join(known)}'
        )
    typed = options.view_as(DaskOptions)
    if not (typed.address or typed.scheduler_file or dask.config.get('scheduler-address', None)):
        raise ConfigError(
            f'data.runner_options names no Dask scheduler: type {_ADDRESS} in it (for this machine '
            'alone: --config.data.runner=local)'
        )
    if typed.scheduler_file and not os.path.exists(typed.scheduler_file):  # Dask would wait for it
        raise DataError(
            f'--dask_scheduler_file={typed.scheduler_file} in data.runner_options is not there; '
            f'`dask scheduler --scheduler-file FILE` writes it, or type {_ADDRESS}'
        )
    if not (typed.npartitions or typed.partition_size):
        typed.partition_size = 1


@contextlib.contextmanager
def watched(pipeline: Any) -> Iterator[None]:
    """Reports what becomes of the cluster on which a pipeline of Beam runs within this context.

    It prints that all workers are gone, and at the end closes the connection, which Beam leaves
    open: what the workers have not begun is dropped with it. Nothing is done on other runners.

    Raises:
        DataError: the scheduler is gone or restarted, which Beam takes for the end of the work.
    """
    over = threading.Event()
    thread = threading.Thread(target=_report_no_workers, args=(pipeline, over), daemon=True)
    thread.start()
    is_stopped = False
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # which an error of the cluster must not replace
        is_stopped = True
        raise
    finally:
        over.set()
        if (problem := _closed(getattr(pipeline, 'result', None))) and not is_stopped:
            raise DataError(problem)


def _closed(result: Any) -> str:
    """Closes the connection to the cluster; what became of its scheduler, '': nothing."""
    client = getattr(result, 'client', None)
    if client is None:
        return ''
    dropped = any(future.status == 'cancelled' for future in result.futures)
    gone, address = client.status != 'running', client.scheduler.address
    with messages.without('distributed.client'):  # a traceback of its try to reconnect
        client.close()
    what = 'is gone: start it and its workers again, and' if gone else 'was restarted:'
    lost = f'the Dask scheduler at {address} {what} type the same command; finished pieces are kept'
    return lost if dropped else ''


def _report_no_workers(pipeline: Any, over: threading.Event) -> None:
    """Prints, each time that it happens, that the cluster of a pipeline has no workers any more."""
    had = True
    while not over.wait(_WATCH_SECONDS):
        client = getattr(getattr(pipeline, 'result', None), 'client', None)
        if client is None or client.status != 'running':
            continue
        with contextlib.suppress(Exception):  # of a connection that ends, which `watched` reports
            had, had_before = bool(client.nthreads()), had
            if had_before and not had:
                terminal.ERR.print(
                    f'the Dask scheduler at {client.scheduler.address} has no workers any more, '
                    f'and the build waits for some; on each machine type: {_START}'
                )


@contextlib.contextmanager
def _client(options: Any) -> Iterator[Any]:
    """A connection to the scheduler."""
    import distributed
    from apache_beam.runners.dask.dask_runner import DaskOptions

    words = options.view_as(DaskOptions).get_all_options(drop_default=True, current_only=True)
    words = {
        name: words[name] for name in ('address', 'scheduler_file', 'timeout') if name in words
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of versions that differ, which are examined
            if 'address' in words:  # Dask would try a name that is unknown until its time is over
                distributed.comm.resolve_address(words['address'])
            client = distributed.Client(**words, set_as_default=False)
    except (OSError, ValueError) as error:
        where = words.get('address') or words.get('scheduler_file') or 'the configured address'
        raise DataError(
            f'no Dask scheduler answers at {where} ({error}): start one by `dask scheduler` on '
            f'HOST, and name it by {_ADDRESS} in data.runner_options'
        ) from error
    with client:
        yield client


def _check_packages(client: Any, workers: dict[str, Any]) -> None:
    """Refuses workers that lack a package, or have another version of it."""
    ours = {name: _version(name) for name in _PACKAGES}
    install = f"there type pip install -e '.[dask]', as here, and start it again: {_START}"
    for address, found in client.get_versions(packages=_PACKAGES)['workers'].items():
        theirs, who = found['packages'], _name(address, workers.get(address))
        python = '.'.join(theirs['python'].split('.')[:3])
        if python.split('.')[:2] != list(platform.python_version_tuple()[:2]):
            raise DataError(
                f'the Dask worker {who} has Python {python}, this process '
                f'{platform.python_version()}: both must have the same; {install}'
            )
        for name, version in ours.items():
            if theirs.get(name) != version:
                raise DataError(
                    f'the Dask worker {who} has {name} {theirs.get(name) or "not at all"}, this '
                    f'process {version}: both must have the same; {install}'
                )
    import pkgutil

    imported = client.run(pkgutil.resolve_name, f'{_MODULE}:PIECES_FOLDER', on_error='return')
    for address, answer in imported.items():
        if isinstance(answer, Exception):
            raise DataError(
                f'the Dask worker {_name(address, workers.get(address))} cannot import {_MODULE} '
                f'({answer}): {install}'
            )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _name(address: str, worker: dict[str, Any] | None) -> str:
    name = (worker or {}).get('name', address)
    return address if name == address else f'{name} ({address})'
