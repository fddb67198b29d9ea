"""Checkpoints of ours, Google's and Hugging Face's, damaged or made up."""

import dataclasses
import json
import math
import pathlib
import random

import jax
import ml_dtypes
import numpy as np
from etils import epath
from safetensors.numpy import load_file, save_file

from electra_jax import init_from
from electra_jax.config import resolve
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import ModelConfig
from electra_jax.core.trees import named_leaves
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.text import CLASSIFICATION
from electra_jax.inference.loaded import LoadedModel
from electra_jax.inference.opened import Found
from electra_jax.interop import google_tf, projects
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.model.bind import bind
from electra_jax.train import parameters
from tests.support import fakes
from tests.support.loading import Known, task_of
from tools.fuzz import mutate
from tools.fuzz.target import Run, Target, check, files_of, fresh


def small_model(**changes) -> ModelConfig:
    """As small as a model can be."""
    sizes = {
        'num_layers': 1, 'hidden_size': 64, 'ffn_size': 64, 'num_heads': 1, 'embedding_size': 8,
        'max_positions': 8, 'generator_layers': 1.0, 'generator_width': 1.0,
    }  # fmt: skip
    return fakes.model(**{**sizes, **changes})


def _about(model: ModelConfig) -> dict:
    config = {**dataclasses.asdict(recipe({})), 'model': dataclasses.asdict(model)}
    tokenizer = fakes.tokenizer()
    return {
        'config': config,
        'tokenizer': tokenizer.to_json(),
        'tokenizer_hash': tokenizer.hash,
        'corpora': [],
    }


def spoil_tree_of_files(rng: random.Random, case: pathlib.Path) -> pathlib.Path:
    """Damages one file below `case`; JSON as JSON, at times with absurd numbers."""
    path = rng.choice(files_of(case))
    data, kind = path.read_bytes(), rng.random()
    tree = None
    if kind < 0.8:
        try:
            tree = json.loads(data)
        except ValueError:
            tree = None
    if kind < 0.05:
        path.unlink()
    elif kind < 0.08:
        path.unlink()
        path.mkdir()
    elif kind < 0.11:
        path.rename(path.with_name(path.name + 'x'))
    elif isinstance(tree, dict | list):
        path.write_bytes(mutate.spoil_json(rng, tree))
    else:
        path.write_bytes(mutate.spoil(rng, data))
    return path


def _make_ours(folder: pathlib.Path) -> Run:
    """Checkpoints of pre-training and fine-tuning, opened as `predict` and a new run do it."""
    model = small_model(max_positions=24)
    made = {'pretrained': (fakes.params(model), _about(model))}
    task = task_of('text', Known(('no', 'yes')), head='huggingface')
    task = dataclasses.replace(task, row_length=24)
    head = bind(model, fakes.VOCAB_SIZE).head(CLASSIFICATION.head(task)).init(jax.random.key(1))
    tuned = {**made['pretrained'][0], 'task_head': jax.device_get(head)}
    made['tuned'] = tuned, {**_about(model), 'task': tasks.to_json(task)}
    wanted = {}
    for name, (params, about) in made.items():
        parameters.write_params(epath.Path(folder / name), params, about)
        wanted[name] = dict(named_leaves(params))
    settings = recipe({'batch_size': 8})

    def run(rng: random.Random) -> None:
        name = rng.choice(sorted(made))
        case = fresh(folder / 'run', folder / name)
        spoil_tree_of_files(rng, case)
        found, about = parameters.read_params(epath.Path(case))
        leaves = dict(named_leaves(found))
        if leaves.keys() == wanted[name].keys():
            for path, leaf in leaves.items():
                same = np.array_equal(leaf, wanted[name][path])
                check(same, f'{path} is not as it was written')
        LoadedModel(Found(str(case), found, about, []), batch_size=8).work()
        opened = init_from.checked_start(recipe({}), str(case), found, about)
        opened.tokenizer.encode_batch(['the new york cafe'])
        init_from.encoder_params(opened, resolve.resolve(settings, 'cpu', opened.stored))

    return run


_DTYPES = (np.float16, np.float64, np.int32, np.int64, np.uint8, bool, ml_dtypes.bfloat16)


def _spoil_arrays(rng: random.Random, arrays: dict[str, np.ndarray]) -> None:
    """Some accidents to names, shapes and types of arrays, in place."""
    for _ in range(rng.choice((1, 1, 2))):
        name, kind = rng.choice(sorted(arrays)), rng.random()
        x = arrays[name]
        if kind < 0.2:
            del arrays[name]
        elif kind < 0.4:
            arrays[_other_name(rng, name)] = arrays.pop(name)
        elif kind < 0.5:
            arrays[_other_name(rng, name)] = x
        elif kind < 0.6:
            arrays[name] = x.astype(rng.choice(_DTYPES))
        elif kind < 0.8:
            shape = rng.choice([(), (0,), (1,), (3, 0), x.shape[::-1], (*x.shape, 1), x.shape[1:]])
            arrays[name] = np.zeros(shape, np.float32)
        elif kind < 0.9:
            arrays[name] = np.concatenate([np.atleast_1d(x)] * 2)
        else:
            arrays[name] = np.full(x.shape, rng.choice((np.nan, np.inf, 1e38)), np.float32)


def _other_name(rng: random.Random, name: str) -> str:
    at = rng.randrange(len(name) + 1)
    return rng.choice(
        (
            name.replace('layer_0', 'layer_7').replace('layer.0.', 'layer.7.'),
            name.replace('layer_0', 'layer_99999999999999999999').replace('.0.', '.999999999999.'),
            name[:at] + rng.choice('/._0x{é') + name[at:],
            name[:at],
            name.upper(),
            f'generator/{name}',
            f'{name}/adam_m',
        )
    )


def _make_google(folder: pathlib.Path) -> Run:
    model = small_model()
    variables, _ = google_tf.variables_from_params(fakes.params(model), fakes.VOCAB_SIZE)
    variables['global_step'] = np.array(7, np.int64)

    def run(rng: random.Random) -> None:
        found = dict(variables)
        _spoil_arrays(rng, found)
        size = rng.choice((None, fakes.VOCAB_SIZE, 1, 1000))
        settings = google_tf.model_from_variables(found)
        params, report = google_tf.params_from_variables(found, settings, size)
        taken = sum(moved.arrays for moved in report.moved) + len(report.left_out)
        check(taken == len(found), f'{len(found)} variables, {taken} accounted for')
        check(all(x.dtype == np.float32 for _, x in named_leaves(params)), 'not float32')

    return run


def _make_google_files(folder: pathlib.Path) -> Run:
    """Folders that should hold TensorFlow's files, without TensorFlow."""
    names = ('model.ckpt-10.index', 'model.ckpt-2.index', 'checkpoint', 'vocab.txt', 'x.index')

    def run(rng: random.Random) -> None:
        case = fresh(folder / 'google')
        for name in rng.sample(names, rng.randint(0, 4)):
            text = '\n'.join(fakes.VOCAB) + '\n' if name == 'vocab.txt' else 'x'
            if rng.random() < 0.2:
                name = mutate.spoil(rng, name.encode(), 1).decode(errors='replace')
                name = name.replace('/', '').replace('\0', '')[:40] or 'y'
            (case / name).write_bytes(mutate.spoil(rng, text.encode()))
        path = case / rng.choice(('', 'model.ckpt-10', 'model.ckpt-10.index', 'none', '..'))
        prefix = google_tf.find_checkpoint(path)
        check(prefix.with_name(prefix.name + '.index').is_file(), f'{prefix} is no checkpoint')

    return run


def _make_huggingface(folder: pathlib.Path) -> Run:
    models = {'pair': small_model(), 'alone': small_model(generator='tied')}
    for name, model in models.items():
        params = fakes.params(model, discriminator_head=name == 'pair')
        made = Checkpoint(params, model, fakes.tokenizer())
        projects.write_huggingface(fresh(folder / name), made)

    def run(rng: random.Random) -> None:
        case = fresh(folder / 'huggingface', folder / rng.choice(sorted(models)))
        if rng.random() < 0.7:
            spoil_tree_of_files(rng, case)
        else:
            path = rng.choice([p for p in files_of(case) if p.suffix == '.safetensors'])
            arrays = load_file(path)
            _spoil_arrays(rng, arrays)
            save_file({name: np.ascontiguousarray(x) for name, x in arrays.items()}, path)
        loaded = projects.read_huggingface(case)
        _check_loaded(loaded)
        if loaded.tokenizer is not None:
            loaded.tokenizer.encode_batch(['the new york cafe'])

    return run


def _check_loaded(loaded: Checkpoint) -> None:
    """Parameters that the model, as it was read, can run."""
    for name, x in named_leaves(loaded.params):
        check(x.dtype == np.float32, f'{name} is {x.dtype}')
    for field in dataclasses.fields(ModelConfig):
        value = getattr(loaded.model, field.name)
        if isinstance(value, float):
            check(math.isfinite(value), f'{field.name} is {value}')
    word_VE = loaded.params['embeddings']['word']
    check(word_VE.shape[1] == loaded.model.embedding_size, 'another width than the model has')
    # Refuses a tree that JAX cannot take.
    jax.eval_shape(lambda tree: tree, loaded.params)


TARGETS = (
    Target('ours', _make_ours, r'/run\b'),
    Target(
        'google',
        _make_google,
        r'electra/|(generator|discriminator)_predictions/|generator|variables|vocabulary|encoder|'
        r'layers|global_step|the source',
    ),
    Target('google_files', _make_google_files, r'google|\.index'),
    Target(
        'huggingface',
        _make_huggingface,
        r'huggingface|config\.json|electra\.|discriminator|generator|layers|vocabulary|embeddings|'
        r'the source',
    ),
)
