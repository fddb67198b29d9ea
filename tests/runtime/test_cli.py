"""Recipes and overrides: what is understood, and what a refusal says."""

import dataclasses
import json
import logging
import pathlib
import runpy
import subprocess
import sys
import threading
import types

import pytest

from electra_jax.config import checks, recipe, resolve, settings
from electra_jax.config.kernels import PLATFORM_OF
from electra_jax.config.platform import resolve_platform
from electra_jax.core.errors import ConfigError
from electra_jax.corpus.job import RUNNERS
from electra_jax.corpus.layouts import LAYOUTS
from electra_jax.model.embeddings import POSITION_INITS
from electra_jax.model.encoder import REMAT_POLICIES
from electra_jax.objectives.table import OBJECTIVES
from electra_jax.ops.attention import KERNELS
from electra_jax.ops.dropout import BITS
from electra_jax.ops.vocab_head import noise_shapes
from electra_jax.runtime import cli
from electra_jax.tokenizers.sentencepiece import MODEL_TYPES

ROOT = pathlib.Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / 'configs').rglob('*.py'))

PROGRAM = """
from electra_jax import flags
CONFIG = flags.config_flag()
def main(config):
    print(repr(config))
flags.run(main, CONFIG)
"""


def type_command(*words: str, program: str = PROGRAM) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', program, *words], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_short_and_says_what_it_reaches(path):
    space = runpy.run_path(str(path))
    config = recipe.to_config(space['get_config']())
    assert isinstance(config, settings.Config)
    assert space['__doc__'] and len(path.read_text().splitlines()) <= 60


def test_overrides_reach_every_kind_of_leaf():
    done = type_command(
        '--config=configs/small.py',
        '--config.batch_size=64',
        '--config.optimizer.learning_rate=1',
        '--config.model.num_layers=3',
        '--config.log.tensorboard=false',
        '--config.objective.temperature_end=0.5',
        '--config.data.source=text:a*.txt=2,jsonl:b#c',
    )
    out = done.stdout
    assert done.returncode == 0, done.stderr
    assert 'batch_size=64' in out and 'learning_rate=1.0' in out and 'num_layers=3' in out
    assert 'tensorboard=False' in out and 'temperature_end=0.5' in out
    assert "source='text:a*.txt=2,jsonl:b#c'" in out


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        (
            '--config.batchsize=3',
            '--config.batchsize is not a setting; did you mean --config.batch_size?',
        ),
        ('--config.learning_rate=3', 'did you mean --config.optimizer.learning_rate?'),
        ('--config.batch_size=abc', "--config.batch_size is 'abc', allowed: a whole number"),
        ('--config.batch_size=1.5', 'allowed: a whole number'),
        ('--config.log.tensorboard=maybe', 'allowed: true or false'),
        ('--config.optimizer.learning_rate=nan', 'allowed: at least 0'),
        ('--config.objective.name=elektra', "did you mean 'electra'?"),
        ('--config.model.size=smal', "did you mean 'small'?"),
        ('--config.optimizer.microbatches=3', 'must be a multiple'),
        ('--config.model.generator_width=0.51', 'generator_width is 0.51'),
        ('--config.mesh.fsdp=-1', 'only one may be'),
        ('--config.init_network=none', 'is for fine-tuning'),
        ('batch_size=3', 'settings look like --config.KEY=VALUE'),
    ],
)
def test_a_refusal_is_one_clear_message(word, said):
    done = type_command('--config=configs/small.py', word)
    assert done.returncode == 1
    assert said in done.stderr and 'Traceback' not in done.stderr, done.stderr


def test_a_reader_who_has_had_enough_is_no_error():
    program = PROGRAM.replace('print(repr(config))', 'raise BrokenPipeError')
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
def test_a_failed_save_is_not_told_by_every_thread(path, level, shown):
    record = logging.LogRecord('absl', level, path, 1, 'no space', (), (ValueError, None, None))
    assert cli._is_news(record) is shown and record.exc_info is None


def test_hooks_pass_on_all_but_a_closed_loop():
    seen = []
    hook = cli._but_closed_loops(lambda *arguments: seen.append(arguments))
    closed, other = RuntimeError('Event loop is closed'), RuntimeError('something else')

    def tell():
        for error in (closed, other):
            hook(RuntimeError, error, None)  # as sys.excepthook
            hook(types.SimpleNamespace(exc_value=error))  # as sys.unraisablehook

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()
    assert seen[0][1] is other and seen[1][0].exc_value is other and len(seen) == 2
    tell()  # in the main thread it is an end of the program, which nobody else would explain
    assert len(seen) == 6


def test_pre_training_has_no_task():
    with pytest.raises(ConfigError, match=r"job is pretrain, but config.task.name is 'sst2'"):
        recipe.to_config(recipe.recipe({'task': {'name': 'sst2'}}))


def test_a_missing_recipe_is_named():
    done = type_command('--config=configs/smal.py')
    assert 'no such recipe: configs/smal.py' in done.stderr and 'Traceback' not in done.stderr
    assert 'no recipe given' in type_command().stderr


def test_a_recipe_with_a_typo_or_a_wrong_type_is_refused():
    with pytest.raises(ConfigError, match=r'config.optimizer.lr is not a setting'):
        recipe.recipe({'optimizer': {'lr': 1.0}})
    with pytest.raises(ConfigError, match='a whole number'):
        recipe.recipe({'batch_size': '8'})
    with pytest.raises(ConfigError, match='group of settings'):
        recipe.recipe({'model': 'small'})


def test_choices_name_exactly_what_there_is():
    assert set(checks.CHOICES['objective.name']) == set(OBJECTIVES)
    assert set(checks.CHOICES['model.remat']) == set(REMAT_POLICIES)
    assert set(checks.CHOICES['model.dropout_bits']) == set(BITS)
    assert set(checks.CHOICES['model.attention']) == {*KERNELS, None}
    assert set(PLATFORM_OF) == set(KERNELS)
    assert set(checks.CHOICES['model.position_init']) == set(POSITION_INITS)
    assert set(checks.CHOICES['data.layout']) == set(LAYOUTS)
    assert set(checks.CHOICES['data.runner']) == set(RUNNERS)
    assert set(checks.CHOICES['data.tokenizer.kind']) == {'wordpiece', *MODEL_TYPES}
    for sampler in checks.CHOICES['objective.sampler']:
        assert noise_shapes(1, 1, 128, sampler)


def test_every_number_has_bounds_or_needs_none():
    leaves = {name.removeprefix('config.'): kind for name, kind in recipe.leaves(settings.Config)}
    numbers = {name for name, kind in leaves.items() if kind in (int, float)}
    assert numbers - set(checks.BOUNDS) == set()
    assert set(checks.BOUNDS) <= numbers


def test_rows_longer_than_the_position_table_are_refused_where_there_is_a_model():
    config = recipe.to_config(recipe.recipe({'data': {'row_length': 1024}}))
    with pytest.raises(ConfigError, match=r'--config.model.max_positions=1024'):
        checks.check_positions(config)


def test_the_baseline_has_no_generator_to_scale():
    changes = {'objective': {'name': 'mlm'}, 'model': {'generator_width': 0.5}}
    with pytest.raises(ConfigError, match=r'config.model.generator_width is 0.5'):
        recipe.to_config(recipe.recipe(changes))


def test_a_size_fills_what_the_recipe_leaves_open():
    model = resolve.resolve_model(settings.ModelConfig(size='base', num_layers=6))
    assert (model.num_layers, model.hidden_size, model.num_heads) == (6, 768, 12)
    left = {name for name, value in dataclasses.asdict(model).items() if value is None}
    open_to_devices = {
        'attention', 'compute_dtype', 'scan_unroll', 'flat_products', 'vocab_chunks'
    }  # fmt: skip
    assert left == {*open_to_devices, 'generator_embedding_size', 'local_window'}
    on_tpu = resolve_platform(settings.Config(model=model), 'tpu').model
    assert (on_tpu.compute_dtype, on_tpu.scan_unroll) == ('bfloat16', 1)
    assert resolve_platform(settings.Config(model=model), 'cpu').model.compute_dtype == 'float32'


@pytest.mark.parametrize(
    ('platform', 'job', 'num_layers', 'remat', 'unrolled'),
    [
        ('gpu', 'pretrain', 6, 'none', 6),
        ('gpu', 'pretrain', 24, 'none', 12),
        ('gpu', 'pretrain', 6, 'full', 1),
        ('gpu', 'finetune', 6, 'none', 1),
        ('cpu', 'finetune', 24, 'none', 24),
        ('tpu', 'pretrain', 6, 'none', 1),
    ],
)
def test_layers_are_unrolled_where_it_pays(platform, job, num_layers, remat, unrolled):
    asked = settings.ModelConfig(size='base', num_layers=num_layers, remat=remat)
    model = resolve.resolve_model(asked)
    config = settings.Config(job=job, model=model)
    assert resolve_platform(config, platform).model.scan_unroll == unrolled


CHANGED = """
import json
from electra_jax import flags
CONFIG = flags.config_flag()
def main(config):
    changes = {'data.row_length': '64', 'optimizer.bias_correction': 'true'}
    found = [flags.changed_config(CONFIG, changes, other) for other in (None, 'configs/large.py')]
    print(json.dumps([
        [c.model.size, c.batch_size, c.data.row_length, c.optimizer.bias_correction] for c in found
    ]))
flags.run(main, CONFIG)
"""


def test_a_config_is_changed_and_another_recipe_is_given_what_was_typed():
    words = ['--config=configs/small.py', '--config.batch_size=24']
    done = subprocess.run(
        [sys.executable, '-c', CHANGED, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [['small', 24, 64, True], ['large', 24, 64, True]]


@pytest.mark.parametrize('text', ['data.row_length', 'config.data.row_length', 'row_length'])
def test_a_setting_is_known_by_its_whole_name_or_its_last_word(text):
    assert recipe.setting_name(text) == 'data.row_length'


@pytest.mark.parametrize(
    'text, said', [('row_lenght', 'not a setting'), ('every_steps', 'checkpoint.every_steps, eval')]
)
def test_a_setting_that_is_unknown_or_ambiguous_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        recipe.setting_name(text)
