"""The peer does the work of our step: from the same weights and draws it has the same loss."""

import jax
import numpy as np
import pytest

from electra_jax.bench.job import peer_settings
from electra_jax.bench.step import PUBLISHED, random_rows
from electra_jax.interop import huggingface
from electra_jax.interop.files import Network
from electra_jax.objectives import given
from electra_jax.objectives.definition import Vocabulary
from electra_jax.ops.vocab_softmax import gumbel
from tests.support.configs import tiny_config

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')
from electra_jax.bench import torch_step  # noqa: E402

B, L, V = 3, 16, 200
VOCABULARY = Vocabulary(V, PUBLISHED.special)
CONFIG = tiny_config(
    batch_size=B,
    model={
        'norm': 'post', 'hidden_size': 32, 'num_heads': 2, 'generator_width': 0.5,
        'embedding_size': 16, 'dropout': 0.0, 'attention_dropout': 0.0,
    },
    objective={'sampler': 'gumbel'},
    data={'row_length': L},
)  # fmt: skip


def our_params(model):
    """The peer's weights by way of interop."""
    small = model.generator.config.to_dict()
    generator = {f'electra.{name}': x for name, x in model.generator.state_dict().items()}
    for name, x in model.generator_predictions.state_dict().items():
        generator[f'generator_predictions.{name}'] = x
    generator['generator_lm_head.bias'] = model.generator_bias
    discriminator = model.discriminator
    networks = {
        'generator': (small, generator),
        'discriminator': (discriminator.config.to_dict(), discriminator.state_dict()),
    }
    arrays = {
        role: Network(config, {name: x.detach().numpy() for name, x in tensors.items()})
        for role, (config, tensors) in networks.items()
    }
    params, _, report = huggingface.params_from_networks(arrays, V)
    assert not report.missing
    return params


def test_the_loss_is_ours():
    random = np.random.default_rng(0)
    positions_BP = np.stack([random.permutation(L - 2)[:3] + 1 for _ in range(B)])
    uniforms_BPV = random.uniform(0.01, 0.99, (B, 3, V)).astype(np.float32)
    noise_NV = torch.tensor(np.asarray(gumbel(uniforms_BPV)).reshape(-1, V))
    settings = torch_step.Settings(**peer_settings(CONFIG, V))
    torch.manual_seed(0)
    model = torch_step.Electra(settings)
    model.sample = lambda logits_NV: (logits_NV + noise_NV).argmax(-1)
    for parameter in model.parameters():  # far from zero, or nothing would be seen of it
        torch.nn.init.normal_(parameter, std=0.2)
    rows = random_rows(B, L, VOCABULARY)
    model.choose_positions = lambda ids: torch.tensor(positions_BP)
    theirs = model(torch.tensor(rows['tokens'], dtype=torch.long)).item()

    batch = jax.tree.map(jax.numpy.asarray, rows)
    draws = given.make_draws(
        CONFIG, VOCABULARY, positions_BP, np.zeros_like(positions_BP, bool), uniforms_BPV
    )
    ours, _ = given.loss(CONFIG, VOCABULARY, our_params(model), (batch, draws))
    assert float(ours) == pytest.approx(theirs, rel=1e-5)
