"""The same weights, text and draws through transformers' Electra classes and through ours."""

import re
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from electra_jax.model.bind import bind
from electra_jax.objectives import electra, given, inputs
from electra_jax.objectives.definition import Vocabulary
from electra_jax.ops.vocab_softmax import vocab_logits
from tests.reference import ours
from tests.reference.electra_numpy import forward
from tests.reference.examples import random_batch, random_variables
from tests.reference.masking import (
    Draws,
    candidates,
    fake_data,
    mask,
    max_predictions_per_seq,
    sample,
)
from tests.reference.optimizer import clip_by_global_norm
from tests.reference.settings import Settings
from tests.support.configs import SPECIAL, tiny_config

torch = pytest.importorskip('torch')
hf = pytest.importorskip('transformers.models.electra.modeling_electra')

B, L = 5, 24
BERT_NAMES = ('input_ids', 'input_mask', 'segment_ids')
COMMON = {
    'vocab_size': 200,
    'max_position_embeddings': 32,
    'mask_prob': 0.25,
    'cls_id': SPECIAL.cls,
    'sep_id': SPECIAL.sep,
    'mask_id': SPECIAL.mask,
}
CASES = {
    'one_width_quarter': {'hidden_size': 64, 'embedding_size': 64, 'head_size': 16},
    'small_shape': {'hidden_size': 64, 'embedding_size': 32, 'head_size': 16},
    'third_several_heads': {
        'hidden_size': 48,
        'embedding_size': 48,
        'head_size': 4,
        'generator_hidden_size': 1 / 3,
    },
    'third_as_wide_as_the_tables_half_as_deep': {
        'hidden_size': 96,
        'embedding_size': 32,
        'head_size': 8,
        'num_hidden_layers': 4,
        'generator_hidden_size': 1 / 3,
        'generator_layers': 0.5,
    },
}


class Answer(NamedTuple):
    """What is compared."""

    gen_logits_BPV: np.ndarray
    disc_logits_BL: np.ndarray
    corrupted_BL: np.ndarray
    mlm_loss: float
    disc_loss: float
    grad_norm: float


def example(name: str, seed: int):
    """Settings, variables, batch and draws; positions are distinct, as ours are by default."""
    settings = Settings(**{**COMMON, **CASES[name]})
    batch = random_batch(settings, B, L, seed)
    random = np.random.default_rng((seed, 3))
    P = max_predictions_per_seq(settings, L)
    positions_BP = np.stack(
        [
            random.choice(np.flatnonzero(row), P, replace=False)
            for row in candidates(settings, batch)
        ]
    )
    keep_BP = random.random((B, P)) < 0.2
    uniforms_BPV = random.random((B, P, settings.vocab_size), dtype=np.float32)
    draws = Draws(positions_BP, keep_BP, uniforms_BPV.astype(np.float64))
    return settings, random_variables(settings, seed), batch, draws


def our_network(settings):
    """A function of variables, batch and draws to our answer, compiled once."""
    config = tiny_config(
        model={
            'norm': 'post',
            'num_layers': settings.num_hidden_layers,
            'hidden_size': settings.hidden_size,
            'embedding_size': settings.embedding_size,
            'num_heads': settings.hidden_size // settings.head_size,
            'generator_width': settings.generator_hidden_size,
            'generator_layers': settings.generator_layers,
        },
        objective={'sampler': 'gumbel', 'mask_rate': settings.mask_prob},
        data={'row_length': L},
    )
    vocabulary = Vocabulary(settings.vocab_size, SPECIAL)
    model, networks = bind(config.model, settings.vocab_size), ('generator', 'discriminator')
    like = jax.eval_shape(lambda: model.init(jax.random.key(0), networks))
    forward = electra.make_forward(config, model, vocabulary)

    @jax.jit
    def compute(params, batch, draws):
        made = inputs.from_draws(SPECIAL, batch, draws)
        (_, metrics), grads = jax.value_and_grad(
            lambda p: given.loss(config, vocabulary, p, (batch, draws)), has_aux=True
        )(params)
        proposal, corruption, logits_BL, _ = forward(params, made, None, None)
        return Answer(
            vocab_logits(proposal.softmax, settings.vocab_size)[..., : settings.vocab_size],
            logits_BL,
            corruption.tokens_BL,
            metrics['mlm_loss'],
            metrics['disc_loss'],
            optax.tree.norm(grads),
        )

    def answer(variables, batch, draws):
        masked = mask(settings, batch, draws)
        our_draws = given.make_draws(
            config, vocabulary, masked.positions_BP, draws.keep_BP, draws.uniforms_BPV
        )
        our_batch = given.batch_from_bert(*(batch[name] for name in BERT_NAMES))
        params = ours.to_ours(variables, like)
        return jax.tree.map(np.asarray, compute(params, our_batch, our_draws))

    return answer


TORCH_RENAMES = (
    (r'^generator/', 'electra/'),
    (r'^generator_predictions/output_bias$', 'generator_lm_head/bias'),
    (r'^discriminator_predictions/dense_1/', 'discriminator_predictions/dense_prediction/'),
    (r'/layer_(\d+)/', r'/layer/\1/'),
    (r'/(kernel|gamma)$', '/weight'),
    (r'/beta$', '/bias'),
    (r'embeddings$', 'embeddings/weight'),
    (r'/', '.'),
)


def torch_networks(settings, variables, dtype):
    """Both networks around one embedding block, tied in torch as the reference shares it."""
    generator, discriminator = (
        kind(electra_config(settings, scope)).to(dtype).eval()
        for kind, scope in (
            (hf.ElectraForMaskedLM, 'generator'),
            (hf.ElectraForPreTraining, 'electra'),
        )
    )
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.tie_weights()
    for network, scopes in (
        (generator, ('generator/', 'generator_predictions/')),
        (discriminator, ('electra/', 'discriminator_predictions/')),
    ):
        named = dict(network.named_parameters())
        for name, array in variables.items():
            if not name.startswith(scopes):
                continue
            array = array.T if name.endswith('/kernel') else array
            for pattern, replacement in TORCH_RENAMES:
                name = re.sub(pattern, replacement, name)
            parameter = named.pop(name)
            assert parameter.shape == array.shape, name
            parameter.data = torch.tensor(array, dtype=dtype)
        left = {name for name in named if '.embeddings.' not in name}
        assert not left, left
    assert generator.generator_lm_head.weight is generator.electra.embeddings.word_embeddings.weight
    return generator, discriminator


def mean(losses):
    """The reference's: a millionth is added to the number."""
    return losses.sum() / (losses.numel() + 1e-6)


def electra_config(settings, scope):
    num_layers, width, heads = settings.network(scope)
    return hf.ElectraConfig(
        vocab_size=settings.vocab_size,
        embedding_size=settings.embedding_size,
        hidden_size=width,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=settings.max_position_embeddings,
        type_vocab_size=settings.type_vocab_size,
        layer_norm_eps=1e-12,
        attn_implementation='eager',
    )


def torch_answer(settings, variables, batch, draws, dtype=torch.float32) -> Answer:
    generator, discriminator = torch_networks(settings, variables, dtype)
    common = {
        'attention_mask': torch.tensor(batch['input_mask']),
        'token_type_ids': torch.tensor(batch['segment_ids']),
    }
    masked = mask(settings, batch, draws)
    used_BP = masked.weights_BP > 0
    all_logits_BLV = generator(torch.tensor(masked.input_ids_BL), **common).logits
    logits_BPV = all_logits_BLV[torch.arange(B)[:, None], torch.tensor(masked.positions_BP)]
    mlm_loss = mean(
        torch.nn.functional.cross_entropy(
            logits_BPV[torch.tensor(used_BP)],
            torch.tensor(masked.targets_BP[used_BP]),
            reduction='none',
        )
    )
    gen_logits_BPV = logits_BPV.detach().numpy().astype(np.float64)
    sampled_BP, margin_BP = sample(settings, gen_logits_BPV, masked.targets_BP, draws.uniforms_BPV)
    assert margin_BP[used_BP].min() > 1e-4  # logits differ by some 1e-5: no sample hangs on it
    fake = fake_data(settings, batch, masked, sampled_BP)
    assert 0 < fake.labels_BL.sum() < batch['input_mask'].sum()
    disc_logits_BL = discriminator(torch.tensor(fake.input_ids_BL), **common).logits.view(B, L)
    real_BL = torch.tensor(batch['input_mask'] == 1)
    disc_loss = mean(
        torch.nn.functional.binary_cross_entropy_with_logits(
            disc_logits_BL[real_BL],
            torch.tensor(fake.labels_BL, dtype=dtype)[real_BL],
            reduction='none',
        )
    )
    (mlm_loss + 50 * disc_loss).backward()
    unique = {id(p): p for n in (generator, discriminator) for p in n.parameters()}
    grad_norm = torch.sqrt(sum((p.grad**2).sum() for p in unique.values()))
    return Answer(
        gen_logits_BPV,
        disc_logits_BL.detach().numpy(),
        fake.input_ids_BL,
        mlm_loss.item(),
        disc_loss.item(),
        grad_norm.item(),
    )


def agree(one: Answer, two: Answer, masked, batch, tolerance: float) -> None:
    """Everything within `tolerance`, relative; logits relative to the largest among them."""
    used_BP, real_BL = masked.weights_BP > 0, batch['input_mask'] == 1
    np.testing.assert_array_equal(one.corrupted_BL[real_BL], two.corrupted_BL[real_BL])
    one, two = (
        a._replace(
            gen_logits_BPV=a.gen_logits_BPV[used_BP], disc_logits_BL=a.disc_logits_BL[real_BL]
        )
        for a in (one, two)
    )
    for field in sorted(set(Answer._fields) - {'corrupted_BL'}):
        x, y = getattr(one, field), getattr(two, field)
        assert np.abs(x - y).max() <= tolerance * np.abs(y).max(), field


@pytest.mark.parametrize('name', CASES)
def test_ours_equals_transformers(name):
    network = our_network(Settings(**{**COMMON, **CASES[name]}))
    for seed in range(3):
        settings, variables, batch, draws = example(name, seed)
        theirs = torch_answer(settings, variables, batch, draws)
        masked = mask(settings, batch, draws)
        agree(network(variables, batch, draws), theirs, masked, batch, 1e-5)


@pytest.mark.parametrize('name', CASES)
def test_the_reference_in_numpy_equals_transformers(name):
    settings, variables, batch, draws = example(name, seed=4)
    theirs = torch_answer(settings, variables, batch, draws, torch.float64)
    outcome = forward(settings, variables, batch, draws)
    mine = Answer(
        outcome.generator.logits_BPV,
        outcome.disc_logits_BL,
        outcome.given.fake.input_ids_BL,
        outcome.metrics['gen_loss'],
        outcome.metrics['disc_loss'],
        clip_by_global_norm(outcome.gradients(), 1.0)[1],
    )
    agree(mine, theirs, outcome.masked, batch, 1e-12)
