"""Steps of fine-tuning: PyTorch's numbers, shapes and seeds without recompilation, microbatches."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from electra_jax.core import trees
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import NonFiniteError
from electra_jax.finetune import batches, features
from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import Answerer, put
from electra_jax.finetune.features import Rows, ragged
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.program import build_program
from electra_jax.finetune.split import Loaded, Split
from electra_jax.model.bind import vocab_rows
from electra_jax.parallel import mesh as meshes
from electra_jax.pretrain import program as runs
from electra_jax.tokenizers.unknown import Unknown
from tests.support import compiled, hf_weights
from tests.support.configs import (
    MODERN,
    VOCABULARY,
    merged,
    modern_config,
    random_batch,
    tiny_config,
)

STEPS = 20


def config_of(**changes):
    """On one device, post-norm as transformers, no dropout."""
    base = {
        'job': 'finetune',
        'total_steps': STEPS,
        'batch_size': 4,
        'mesh': {'data': 1},
        'model': {'norm': 'post', 'num_layers': 1, 'dropout': 0.0, 'attention_dropout': 0.0},
        'optimizer': {'learning_rate': 1e-3, 'warmup_steps': 2},
        'task': {'name': 'text', 'head': 'huggingface', 'head_dropout': 0.0},
    }
    return tiny_config(**merged(base, changes))


def task_like(kind, classes, config):
    """A task of that kind, with so many classes, and the settings of the config."""
    named = dataclasses.replace(config.task, name=KINDS[kind].own_task)
    task = tasks.from_config(dataclasses.replace(config, task=named))
    return dataclasses.replace(task, labels=tuple(map(str, range(classes))), scheme='bio')


def program_of(kind='classification', classes=3, **changes):
    return built(kind, classes, config_of(**changes))


@functools.cache  # tests share what is compiled
def built(kind, classes, config):
    task = task_like(kind, classes, config)
    return build_program(config, VOCABULARY.size, task, jax.devices()[:1])


def random_rows(count=12, longest=16, seed=0):
    """Pairs of random tokens with labels for every kind of task."""
    random = np.random.default_rng(seed)
    lengths = random.integers(6, longest + 1, count)
    tokens = [random.integers(5, VOCABULARY.size, n).astype(np.int32) for n in lengths]
    tags = [np.where(random.random(n) < 0.5, random.integers(0, 5, n), -1) for n in lengths]
    for tag in tags:
        tag[1] = 2  # at least one word a row
    answerable = random.random(count) < 0.7
    start = np.where(answerable, 3, 0).astype(np.int32)
    return Rows(
        ragged(tokens),
        np.full(count, 3, np.int32),
        np.arange(count, dtype=np.int32),
        {
            'label': random.integers(0, 3, count).astype(np.int32),
            'target': random.random(count).astype(np.float32),
            'start': start,
            'end': np.where(answerable, 4, 0).astype(np.int32),
            'impossible': (~answerable).astype(np.int32),
        },
        {'labels': ragged(tags)},
        fill=-1,
    )


def some_batches(count, rows=None, size=4, row_length=16):
    rows = random_rows() if rows is None else rows
    order = [batches.permutation(len(rows), 0, i)[:size] for i in range(count)]
    # The last row of each batch is filled up: it must count for nothing.
    return [features.to_batch(rows, chosen[:-1], size, row_length, 0) for chosen in order]


def steps(program, host_batches, source=None, seed=0):
    current = program.fresh_state(source or {}, np.uint32(seed))
    history = []
    for batch in host_batches:
        current, metrics = program.step(current, batch, np.uint32(seed))
        history.append({name: float(value) for name, value in metrics.items()})
    return history, current


@jax.jit
def larger(params):
    """Parameters with biases and scales that are not their starting ones."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return tree.unflatten(
        [x + 0.05 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )


# Kind -> transformers' class, its outputs, our layers' names there, and the loss on its outputs.
PEERS = {
    'classification': (
        'ElectraForSequenceClassification',
        3,
        {'dense': 'classifier.dense', 'output': 'classifier.out_proj'},
    ),
    'regression': (
        'ElectraForSequenceClassification',
        1,
        {'dense': 'classifier.dense', 'output': 'classifier.out_proj'},
    ),
    'tagging': ('ElectraForTokenClassification', 5, {'output': 'classifier'}),
    'spans': ('ElectraForQuestionAnswering', 2, {'output': 'qa_outputs'}),
}


def torch_loss(kind, torch, predicted, batch):
    entropy = torch.nn.functional.cross_entropy
    real = torch.tensor(batch['weight'] > 0)
    if kind == 'classification':
        return entropy(predicted.logits[real], torch.tensor(batch['label'], dtype=torch.long)[real])
    if kind == 'regression':
        return ((predicted.logits[:, 0] - torch.tensor(batch['target'])) ** 2)[real].mean()
    if kind == 'tagging':
        labels = torch.tensor(batch['labels'], dtype=torch.long)
        return entropy(predicted.logits.flatten(0, 1), labels.flatten(), ignore_index=-1)
    closed = -1000.0 * torch.tensor(1 - batch['allowed'])
    losses = [
        entropy((logits + closed)[real], torch.tensor(batch[name], dtype=torch.long)[real])
        for name, logits in (('start', predicted.start_logits), ('end', predicted.end_logits))
    ]
    return sum(losses) / 2


def torch_steps(kind, torch, module, host_batches, settings):
    """The reference's AdamW in plain tensors (electra, optimization.py): no bias correction."""
    named = dict(module.named_parameters())
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in named.items()}
    losses = []
    for number, batch in enumerate(host_batches):
        predicted = module(
            input_ids=torch.tensor(batch['tokens'], dtype=torch.long),
            attention_mask=torch.tensor(batch['documents'], dtype=torch.long),
            token_type_ids=torch.tensor(batch['types'], dtype=torch.long),
        )
        loss = torch_loss(kind, torch, predicted, batch)
        module.zero_grad()
        loss.backward()
        losses.append(loss.item())
        grads = {name: p.grad for name, p in named.items()}
        norm = sum((g**2).sum() for g in grads.values()) ** 0.5
        shrink = min(1.0, settings.clip_norm / norm.item())
        rate = settings.learning_rate * (1 - number / STEPS) * min(1, number / 2)
        with torch.no_grad():
            for name, p in named.items():
                m, v = moments[name]
                g = grads[name] * shrink
                m.mul_(settings.b1).add_(g * (1 - settings.b1))
                v.mul_(settings.b2).add_(g * g * (1 - settings.b2))
                update = m / (v.sqrt() + settings.epsilon)
                if 'LayerNorm' not in name and 'bias' not in name:
                    update = update + settings.weight_decay * p
                p.sub_(rate * update)
    return losses


@pytest.mark.slow
@pytest.mark.parametrize('kind', PEERS)
def test_twenty_steps_are_those_of_pytorch(kind):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    name, classes, layers = PEERS[kind]
    program = program_of(kind, classes, model={'num_layers': 2})
    rows = vocab_rows(program.config.model, VOCABULARY.size)
    params = larger(jax.device_get(program.fresh_state({}, np.uint32(0)).params))
    config = hf_weights.hf_config(program.config.model, rows, num_labels=classes)
    module = hf_weights.load_into(getattr(transformers, name)(config), params, layers).eval()
    host_batches = some_batches(STEPS)
    source = dict(trees.named_leaves(params))
    history, current = steps(program, host_batches, source)
    theirs = torch_steps(kind, torch, module, host_batches, program.config.optimizer)
    np.testing.assert_allclose([h['loss'] for h in history], theirs, atol=1e-4)
    assert abs(theirs[0] - theirs[-1]) > 0.01  # it has gone somewhere
    after = module.state_dict()
    for weight, value in hf_weights.encoder_weights(jax.device_get(current.params)).items():
        np.testing.assert_allclose(value, after[f'electra.{weight}'], atol=1e-4, err_msg=weight)
    for weight, value in hf_weights.head_weights(current.params['task_head'], layers).items():
        np.testing.assert_allclose(value, after[weight], atol=1e-4, err_msg=weight)


def test_each_shape_is_compiled_once_whatever_the_seed():
    program = built.__wrapped__('classification', 3, config_of())  # nothing is compiled yet
    short = some_batches(3, random_rows(longest=12), row_length=12)
    for seed in (0, 1, 2):
        steps(program, some_batches(3) + short, seed=seed)
        for batch in (*some_batches(1), short[0]):
            program.answerer.answers(program.fresh_state({}, np.uint32(seed)).params, batch)
    assert program.step._cache_size() == 2
    assert program.answerer.answers._cache_size() == 2
    assert program.fresh_state._cache_size() == 1


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused_before_any_kind_chooses_by_them(value):
    rows = random_rows(6)
    split = Split(Loaded([], None, Complaints(''), ''), rows, [16], 0, Unknown())
    mesh = meshes.make_mesh(config_of().mesh, jax.devices()[:1])

    def outputs_of(bad_row):
        def answers(params, batch):
            label = np.asarray(batch['label'])
            logits = np.zeros((4, 16, 2), np.float32)
            logits[label == bad_row, 5, 1] = value
            logits[np.asarray(batch['weight']) == 0] = np.nan  # what fills up a batch is not read
            return {'tokens': label, 'logits': logits}

        numbered = {**rows.numbers, 'label': np.arange(6, dtype=np.int32)}
        these = split._replace(rows=dataclasses.replace(rows, numbers=numbered))
        return Answerer(mesh, 4, answers).outputs({}, these)

    assert [one['tokens'] for one in outputs_of(bad_row=-1)] == list(range(6))
    with pytest.raises(NonFiniteError, match=r'1 of \d rows with NaN .*logits.*learning_rate'):
        outputs_of(bad_row=4)


def test_seeds_differ_in_head_and_dropout_and_agree_with_themselves():
    program = program_of(task={'head_dropout': 0.3})
    params = jax.device_get(program.fresh_state({}, np.uint32(9)).params)
    source = dict(trees.named_leaves(params))
    encoder = {name: leaf for name, leaf in source.items() if 'task_head' not in name}
    runs = [steps(program, some_batches(2), encoder, seed)[0] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] and runs[0][0]['loss'] != runs[2][0]['loss']
    same_head = [steps(program, some_batches(1), source, seed)[0][0] for seed in (0, 1)]
    assert same_head[0]['loss'] != same_head[1]['loss']


@pytest.mark.parametrize(
    'kind', [pytest.param(kind, marks=[pytest.mark.slow] * (kind != 'tagging')) for kind in PEERS]
)
def test_parts_of_a_batch_add_up_to_the_whole(kind):
    whole, _ = steps(program_of(kind, PEERS[kind][1]), some_batches(3))
    program = program_of(kind, PEERS[kind][1], optimizer={'microbatches': 2})
    parts, _ = steps(program, some_batches(3))
    for a, b in zip(whole, parts, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6)


def test_a_sum_of_losses_is_their_mean_times_their_number():
    batch = some_batches(1)
    mean, total = (
        steps(program_of(task={'sum_loss': on}), batch)[0][0]['loss'] for on in (False, True)
    )
    assert total == pytest.approx(3 * mean, rel=1e-5)


def test_the_references_span_loss_is_both_ends_and_half_of_answerability():
    program = program_of('spans', 2, task={'head': 'reference', 'beams': 2})
    batch = some_batches(1)[0]
    history, _ = steps(program, [batch])
    fresh = jax.device_get(program.fresh_state({}, np.uint32(0)).params)
    head = KINDS['spans'].head(task_like('spans', 2, program.config))
    predicted = compiled.head(program.config.model, head).outputs(fresh, batch, None)
    logs = [np.asarray(jax.nn.log_softmax(predicted[name])) for name in ('start', 'end')]
    ends = [batch['start'], batch['end']]
    spans = -sum(log[range(4), end] for log, end in zip(logs, ends, strict=True)) / 2
    logit, missing = np.asarray(predicted['impossible']), batch['impossible']
    both = spans + 0.5 * (np.logaddexp(0, logit) - logit * missing)
    assert history[0]['loss'] == pytest.approx(both[:3].mean(), rel=1e-5)


@pytest.mark.slow
def test_the_mesh_changes_no_number():
    config = config_of(batch_size=8, task={'head': 'reference', 'beams': 2})
    task = task_like('spans', 2, config)
    alone = build_program(config, VOCABULARY.size, task, jax.devices()[:1])
    spread = dataclasses.replace(
        config, mesh=dataclasses.replace(config.mesh, data=2, fsdp=2, tensor=2)
    )
    many = build_program(spread, VOCABULARY.size, task)
    made = some_batches(3, size=8)
    ours, _ = steps(alone, made)
    theirs, current = steps(many, [put(many.mesh, batch) for batch in made])
    for a, b in zip(ours, theirs, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-5)
    kernel = current.params['task_head']['end_dense']['kernel']
    assert tuple(kernel.sharding.spec) == ('fsdp', 'tensor')


@pytest.mark.slow  # two trainings
def test_the_modern_block_learns_and_is_fine_tuned_from_what_it_learnt():
    config = modern_config(mesh={'data': 1}, optimizer={'learning_rate': 5e-3})
    pretraining = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    current, batch, losses = pretraining.fresh_state(), random_batch(documents=2), []
    for _ in range(50):
        current, metrics = pretraining.step(current, batch)
        losses.append(float(metrics['loss']))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]), losses
    source = dict(trees.named_leaves(current.params))
    program = program_of(model=MODERN)
    tuned = program.fresh_state(source, np.uint32(0))
    for name, leaf in trees.named_leaves(tuned.params):
        if name.startswith('discriminator/'):
            np.testing.assert_array_equal(leaf, source[name], err_msg=name)
    history, _ = steps(program, some_batches(1) * STEPS, source)
    assert history[-1]['loss'] < 0.5 * history[0]['loss']
