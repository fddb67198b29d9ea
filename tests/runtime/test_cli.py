"""The command line: overrides, refusals, and what a process prints when it ends."""

import json
import logging
import pathlib
import subprocess
import sys
import threading
import types

import pytest

from electra_jax.config import fields
from electra_jax.config.settings import Config
from electra_jax.runtime import cli

ROOT = pathlib.Path(__file__).parent.parent.parent

PROGRAM = """
from absl import flags
from electra_jax.runtime import cli
CONFIG = cli.config_flag()
cli.checkpoint_flag()
flags.DEFINE_string('workdir', None, 'folder of the run')
def main(settings):
    print(repr(settings))
cli.run(main, CONFIG)
"""


def type_command(*words: str, program: str = PROGRAM) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', program, *words], capture_output=True, text=True, cwd=ROOT
    )


def test_overrides_reach_every_kind_of_leaf():
    done = type_command(
        '--config=configs/small.py',
        '--config.batch_size=64',
        '--config.optimizer.learning_rate=1',
        '--config.model.num_layers=3',
        '--config.log.report=false',
        '--config.objective.temperature_end=0.5',
        '--config.data.source=text:a*.txt=2,jsonl:b#c',
    )
    out = done.stdout
    assert done.returncode == 0, done.stderr
    assert 'batch_size=64' in out and 'learning_rate=1.0' in out and 'num_layers=3' in out
    assert ' report=False' in out and 'temperature_end=0.5' in out
    assert "source='text:a*.txt=2,jsonl:b#c'" in out


def test_every_setting_that_may_be_unset_takes_none():
    names = [name for name, leaf in fields.leaves(Config).items() if leaf.optional]
    program = PROGRAM.replace('print(repr(settings))', 'print(*NAMES)').replace(
        'CONFIG =',
        'from electra_jax.config import fields, resolve\n'
        'resolve.check = lambda settings: NAMES.extend(\n'
        f'    n for n in {names} if fields.get(settings, n) is not None)\n'
        'NAMES = []\n'
        'CONFIG =',
    )
    words = [f'--config.{name}=None' for name in names]
    words[:1] = words[0].split('=')  # the value may be the next word
    done = type_command(
        '--config=configs/own.py', *words, '--config.total_steps=5', program=program
    )
    assert (done.stdout.strip(), done.stderr) == ('', '')


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        (
            '--config.batchsize=3',
            '--config.batchsize is not a setting; did you mean --config.batch_size?',
        ),
        ('--config.learning_rate=3', 'did you mean --config.optimizer.learning_rate?'),
        ('--lr=3', '--lr is not a flag of this command; did you mean --config.optimizer.learn'),
        ('--wrkdir=x', '--wrkdir is not a flag of this command; did you mean --workdir?'),
        ('--chekpoint=x', '--chekpoint is not a flag of this command; did you mean --checkpoint?'),
        ('--config.workdir=x', '--config.workdir is not a setting; did you mean --workdir=x?'),
        ('--config.batch_size=abc', "--config.batch_size is 'abc', allowed: a whole number"),
        ('--config.batch_size=1.5', 'allowed: a whole number or None'),
        ('--config.seed=None', "--config.seed is 'None', allowed: a whole number"),
        ('--config.log.report=maybe', 'allowed: true or false'),
        ('--config.optimizer.learning_rate=nan', 'allowed: at least 0'),
        ('--config.model.size=smal', "did you mean 'small'?"),
        ('--config.optimizer.microbatches=3', 'must be a multiple'),
        ('--config.model.generator_width=0.51', 'generator_width is 0.51'),
        ('--config.init_network=none', 'is for fine-tuning'),
        ('--config.model=3', '--config.model is not a setting'),
        # ml_collections passes over white space.
        (
            '--config.data.tokenizer\t.kind=bpe',
            'did you mean --config.data.tokenizer.kind?',
        ),
        ('--config.optimizer.b1=1', 'config.optimizer.b1 is 1.0, allowed: 0 to 0.999999'),
        ('batch_size=3', 'settings look like --config.KEY=VALUE'),
    ],
)
def test_a_refusal_is_one_clear_message(word, message):
    done = type_command('--config=configs/small.py', word)
    assert done.returncode == 1
    assert message in done.stderr and 'Traceback' not in done.stderr, done.stderr


def test_a_setting_without_a_recipe_is_refused_with_what_to_type():
    words = ('--config.job=evaluate', '--workdir=x')
    without = PROGRAM.replace('CONFIG = cli.config_flag()', '').replace('run(main, CONFIG)', (
        'run_without_recipe(lambda: None)'))  # fmt: skip
    for program, message in (
        (PROGRAM, 'error: --config.job changes a recipe, and none is given: type --config=RECIPE'),
        (without, 'error: --config.job is a setting, and this command has no recipe: leave it'),
    ):
        done = type_command(*words, program=program)
        assert (done.returncode, done.stderr.strip().startswith(message)) == (1, True), done.stderr


def test_a_closed_pipe_is_no_error():
    program = PROGRAM.replace('print(repr(settings))', 'raise BrokenPipeError')
    done = type_command('--config=configs/small.py', program=program)
    assert (done.returncode, done.stdout, done.stderr) == (1, '', '')


@pytest.mark.parametrize(
    ('path', 'level', 'shown'),
    [
        ('/lib/orbax/checkpoint/future.py', logging.ERROR, False),
        ('/lib/orbax/checkpoint/future.py', logging.WARNING, True),
        ('/lib/jax/_src/xla.py', logging.ERROR, True),
    ],
)
def test_a_failed_save_is_not_logged_by_every_thread(path, level, shown):
    record = logging.LogRecord('absl', level, path, 1, 'no space', (), (ValueError, None, None))
    assert cli._is_news(record) is shown and record.exc_info is None


def test_hooks_pass_on_all_but_a_closed_loop():
    seen = []
    hook = cli._without_closed_loops(lambda *arguments: seen.append(arguments))
    closed, other = RuntimeError('Event loop is closed'), RuntimeError('something else')

    def report():
        for error in (closed, other):
            hook(RuntimeError, error, None)  # as sys.excepthook
            hook(types.SimpleNamespace(exc_value=error))  # as sys.unraisablehook

    thread = threading.Thread(target=report)
    thread.start()
    thread.join()
    assert seen[0][1] is other and seen[1][0].exc_value is other and len(seen) == 2
    report()  # in the main thread it is an end of the program, which nobody else would explain
    assert len(seen) == 6


WORKDIR = """
from electra_jax.runtime import cli
CONFIG = cli.config_flag()
cli.run(lambda settings: print(cli.run_name(CONFIG, settings)), CONFIG)
"""


@pytest.mark.parametrize(
    ('words', 'name'),
    [
        (['--config=configs/finetune/task.py', '--config.task.name=rte'], 'rte'),
        (['--config=configs/finetune/laptop.py', '--config.task.name=rte'], 'laptop'),
        (['--config=configs/small.py'], 'small'),
    ],
)
def test_the_folder_of_a_run_is_named_after_its_recipe_or_its_task(words, name):
    assert type_command(*words, program=WORKDIR).stdout == f'{name}\n'


@pytest.mark.parametrize('more', [[], ['--config.seed=1']])
def test_a_missing_recipe_is_named(more):
    done = type_command('--config=configs/smal.py', *more)
    words = 'there is no recipe configs/smal.py; did you mean configs/small.py?'
    assert words in done.stderr and 'Traceback' not in done.stderr


def test_a_recipe_of_the_old_import_is_answered_with_the_new_one(tmp_path):
    path = tmp_path / 'old.py'
    path.write_text('from electra_jax.flags import recipe\n')
    done = type_command('--config', str(path))
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert str(path) in done.stderr
    assert 'from electra_jax.config.recipe import recipe' in done.stderr


def test_a_recipe_must_be_named():
    assert 'no recipe is given' in type_command().stderr


CHANGED = """
import json
from electra_jax.runtime import cli
CONFIG = cli.config_flag()
OTHERS = ['configs/large.py', 'configs/quickstart.py']
def main(settings):
    changes = {'data.row_length': '64', 'optimizer.bias_correction': 'true'}
    changed = [cli.changed_settings(CONFIG, changes, other) for other in (None, *OTHERS)]
    print(json.dumps([
        [c.model.size, c.batch_size, c.data.row_length, c.optimizer.bias_correction,
         c.data.tokenizer.vocab_size, c.data.tokenizer.train_megabytes]
        for c in changed
    ]))
cli.run(main, CONFIG)
"""


def test_a_config_is_changed_and_another_recipe_is_given_what_was_typed():
    # The recipe of the quickstart has a size for the vocabulary that it trains.
    vocabulary = '--config.data.tokenizer.path=vocab.txt'
    words = ['--config=configs/small.py', '--config.batch_size=24', vocabulary]
    done = subprocess.run(
        [sys.executable, '-c', CHANGED, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    sizes = ['small', 'large', 'tiny']
    assert json.loads(done.stdout) == [[size, 24, 64, True, None, 64] for size in sizes]


@pytest.mark.parametrize(
    ('started_by', 'added', 'command', 'wanted'),
    [
        ('', '', None, 'python -m electra_jax.main --config=a.py'),
        ("'./launch/q.sh'", '--config=a.py', None, './launch/q.sh'),
        ("'my launch/gpu.sh'", '', None, "'my launch/gpu.sh' --config=a.py"),
        ('launch/vm.sh run --name=n --', '', None, 'launch/vm.sh run --name=n -- --config=a.py'),
        # A command that is started by another one, and one for another module.
        ("'./launch/q.sh'", '--config=b.py', None, 'python -m electra_jax.main --config=a.py'),
        ("'./launch/gpu.sh'", '', 'predict', 'python -m electra_jax.predict --config=a.py'),
    ],
)
def test_a_script_is_what_is_typed_again(monkeypatch, started_by, added, command, wanted):
    monkeypatch.setattr(sys, 'argv', ['/here/main.py', '--config=a.py', '--workdir', 'old'])
    monkeypatch.delenv('ELECTRA_SCRIPT', raising=False)
    monkeypatch.setenv('VIRTUAL_ENV', '/other')
    assert cli.activation() == []
    if started_by:
        monkeypatch.setenv('ELECTRA_SCRIPT', started_by)
        monkeypatch.setenv('ELECTRA_SCRIPT_ADDED', added)
        assert cli.activation()[0].endswith(f'source {sys.prefix}/bin/activate')
        monkeypatch.setenv('VIRTUAL_ENV', sys.prefix)
        assert cli.activation() == []
    assert cli.same_command(command, workdir='new') == f'{wanted} --workdir=new'
