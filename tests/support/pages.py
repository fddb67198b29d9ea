"""Commands of the documentation's pages: where they stand, and how they are made short.

A page is typed as one script of bash, in a folder that has what its reader has. There `python` is a
program of its own (`Python`), which runs modules of this package in copies of a process that has
imported them, with settings behind the typed ones that make a run one of seconds.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.recipes import ENVIRONMENT, ROOT

PAGES = sorted(
    path
    for pattern in (
        '*.md', 'docs/**/*.md', 'launch/*.md', 'benchmarks/*.md', 'models/*.md', 'tools/*/*.md',
    )
    for path in ROOT.glob(pattern)
)  # fmt: skip
_FENCE = re.compile(r'^( *)```(\w*)\n(.*?)^\1```', re.DOTALL | re.MULTILINE)

# What cannot be typed in a test: a pattern of commands, and why.
CANNOT = {
    r'git clone|pip install|python3? -m venv|source \.venv|pre-commit': 'changes the '
    'environment of its reader; tests/test_docs.py looks for the extras',
    r'gcloud |launch/tpu_vm\.sh (?!.*--dry-run)|gs://': 'needs a Google Cloud account',
    r'docker |kubectl ': 'needs a cluster',
    r'sbatch |slurm-JOBID|--slurm=': 'needs Slurm; tests/launch and tests/sweep play its part',
    r'launch/gpu\.sh|--gpus=|jax\.devices': 'needs a GPU; tests/launch plays its part',
    r'launch/quickstart\.sh': 'installs; tests/launch and tests/end_to_end do what it does',
    r'electra_jax\.demo': 'ends when it is stopped; tests/demo opens its page',
    r'torch\.onnx': 'needs ONNX; tests/interop/test_onnx.py has it',
    r'electra_jax\.aot': 'needs a compiler for minutes; tests/aot compiles',
    r'electra_jax\.bench': 'compares with PyTorch for minutes; tests/end_to_end/test_bench.py does',
    r'--mesh|config\.mesh\.tensor=2': 'needs eight devices; tests/multidevice has them',
    r'runner=beam': 'needs Apache Beam; tests/corpus/test_beam.py has it',
    r'\bdask (scheduler|worker) ': 'needs a cluster; tests/corpus/test_dask.py has one',
    r'google:': 'needs TensorFlow; tests/interop/test_tensorflow.py has it',
    r'trackers=tensorboard,trackio': 'needs trackio; tests/train/test_trackers.py plays its part',
    r'launch/test\.sh|pytest|ruff check|mkdocs': 'is the tests themselves',
    r'tools\.faults|tools/fuzz': 'takes hours; tests/faults and tests/fuzz run a little of each',
    r'tools\.emoji': 'needs fonts of other packages',
    r'^--': 'is a part of a command',
}
# Pages whose commands other tests type, and those that report measurements: their commands read
# data sets that do not come along, for hours. Of all of them settings are checked.
OTHERS = {
    'docs/adding.md': 'tests/test_adding.py',
    'docs/python.md': 'tests/inference/test_python_page.py',
    'docs/images.md': 'tests/end_to_end/test_images.py',
    'docs/results.md': 'measurements of hours',
    'docs/study.md': 'measurements of hours',
    'benchmarks/RESULTS.md': 'measurements of hours',
    'models/README.md': 'measurements of hours',
}


class Typed(NamedTuple):
    """A command of a page, or a whole program in Python."""

    language: str
    text: str  # a continued line is one line

    @property
    def reason(self) -> str | None:
        """Why it cannot be typed in a test; None: it can."""
        return next((why for what, why in CANNOT.items() if re.search(what, self.text)), None)


def typed(page: pathlib.Path) -> list[Typed]:
    """What a reader of a page types, in its order."""
    found = []
    for _, language, body in _FENCE.findall(page.read_text()):
        if language == 'python':
            found.append(Typed(language, body))
        elif language in ('bash', ''):
            lines = re.sub(r' *\\\n *', ' ', body).splitlines()
            lines = [re.sub(r'\s+#\s.*$', '', line).strip() for line in lines]
            found += [Typed('bash', line) for line in lines if line and not line.startswith('#')]
    return found


# ---- How commands are made short

_SIZES = (
    'model.num_layers=2', 'model.hidden_size=32', 'model.num_heads=2', 'model.embedding_size=16',
)  # fmt: skip
_ROWS = ('data.row_length=16', 'data.workers=1')
_CORPUS = ('data.holdout=0.2', *_ROWS)
_RUN = (
    'minutes=None', 'words=None', 'total_steps=4', 'batch_size=8', 'checkpoint.every_steps=2',
    'eval.every_steps=2', 'eval.rows=8', 'log.every_steps=1', 'optimizer.warmup_steps=2',
)  # fmt: skip
_TEXT = 'data.source=text:texts/*.txt'  # where a recipe's own text takes a network, or minutes
_TASK = ('task.epochs=1', 'trials=1', 'data.row_length=48')


def shortened(words: list[str]) -> list[str]:
    """The words after `python -m electra_jax.`, with settings that make a command short."""
    line = ' '.join(words)

    def settings(*more: str) -> list[str]:
        return [*words, *(f'--config.{one}' for one in more)]

    if words[0] == 'prepare':
        if 'kind=unigram' in line and 'vocab_size=8000' in line:
            # SentencePiece refuses more pieces than a text gives.
            return settings(*_CORPUS, 'data.tokenizer.vocab_size=36')
        is_named = 'tokenizer.path' in line or 'vocab_size' in line
        return settings(*_CORPUS, *([] if is_named else ['data.tokenizer.vocab_size=120']))
    if words[0] == 'sweep' and '--compare' not in words:
        if 'configs/finetune/' in line:
            fewer = [re.sub('seed=0,1,2$', 'seed=0,1', word) for word in words]
            return [*fewer, '--set', *_TASK]
        # Recipes of two stages name the embedding's size, which is therefore left as it is.
        sizes = [one for one in _SIZES if 'embedding' not in one]
        return [*words, '--set', *_RUN, *sizes, *_CORPUS, _TEXT, 'data.tokenizer.vocab_size=120']
    if words[0] != 'main' or '--config=' not in line:
        return words
    if 'configs/finetune/' in line:
        is_question = 'name=squad1' in line or 'name=squad2' in line
        return settings(*_TASK, *(['task.question_length=16'] if is_question else []))
    # A corpus that an earlier command has made keeps its text and its vocabulary.
    path = re.search(r'--config\.data\.path=(\S+)', line)
    is_made = path is not None and pathlib.Path(path[1], 'corpus.json').exists()
    is_named = is_made or 'tokenizer.path' in line
    vocabulary = [] if is_named else ['data.tokenizer.vocab_size=120']
    sizes = () if 'init_from=laptop' in line else _SIZES
    is_budget = 'configs/babylm.py' in line
    budget = ('words=500', 'checkpoint.keep_at_words=150,300,500') if is_budget else ()
    if sizes and (is_budget or 'configs/own.py' in line or 'configs/laptop.py' in line):
        # Two stages of one size, and a form that transformers knows.
        sizes = (*sizes, 'model.embedding_size=32', 'model.generator_embedding_size=32')
    text = [] if is_made or 'data.source' in line or 'sequences' in line else [_TEXT]
    run = [one for one in _RUN if not (is_budget and one.startswith(('total_steps', 'words')))]
    return settings(*run, *budget, *sizes, *_CORPUS, *vocabulary, *text)


# ---- The process that has imported the package

_SERVER = """
import importlib, json, os, runpy, signal, socket, subprocess, sys, traceback
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
from tests.support.pages import shortened
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print('ready', flush=True)
while True:
    client, _ = server.accept()
    if os.fork():
        client.close()
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, _, _ = socket.recv_fds(client, 1 << 16, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
    asked = json.loads(message)
    os.chdir(asked['folder'])
    words, status = shortened(asked['words']), 0
    sys.argv = [f'electra_jax.{words[0]}', *words[1:]]
    try:
        if asked['devices']:
            environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': asked['devices']}
            status = subprocess.call([sys.executable, '-m', *sys.argv], env=environment)
        else:
            runpy.run_module(f'electra_jax.{words[0]}', run_name='__main__', alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    client.send(str(status or 0).encode())
    os._exit(0)
"""
_IMPORTED = (
    'electra_jax.pretrain.program', 'electra_jax.finetune.job', 'electra_jax.corpus.job',
    'electra_jax.inference.loaded', 'electra_jax.interop.convert', 'electra_jax.report.job',
)  # fmt: skip
_SHIM = """#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
if words[:1] != ['-m'] or not words[1].startswith('electra_jax.'):
    os.execv({python!r}, [{python!r}, *words])
client = socket.socket(socket.AF_UNIX)
client.connect({address!r})
asked = dict(words=[words[1][12:], *words[2:]], folder=os.getcwd(),
             devices=os.environ.get('JAX_NUM_CPU_DEVICES', ''))
socket.send_fds(client, [json.dumps(asked).encode()], [0, 1, 2])
sys.exit(int(client.recv(9) or 1))
"""


@contextlib.contextmanager
def python(folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """An environment in which `python -m electra_jax.COMMAND` is short and starts at once."""
    address = str(folder / 'server')
    (folder / 'bin').mkdir()
    shim = folder / 'bin' / 'python'
    shim.write_text(_SHIM.format(python=sys.executable, address=address))
    shim.chmod(0o755)
    environment = {**ENVIRONMENT, 'PYTHONPATH': str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, '-c', _SERVER, address, json.dumps(_IMPORTED)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None and server.stdout.readline() == 'ready\n'
        yield {**environment, 'PATH': f'{shim.parent}{os.pathsep}{os.environ["PATH"]}'}
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
