"""transformers' Electra classes: BERT's block."""

from collections.abc import Mapping
from typing import Any

from electra_jax.config.settings import ModelConfig
from electra_jax.core.trees import Tree
from electra_jax.interop import names, transfer
from electra_jax.interop.family import Family
from electra_jax.interop.files import Network

_PREFIX = 'electra.'


def _head_of(network: Network) -> str | None:
    """By the names of the tensors."""
    for head, (_, rows) in names.ELECTRA_HEADS.items():
        if rows[0].huggingface in network.arrays:
            return head
    # An encoder that was saved out of a class with a head is a discriminator without its head.
    table = _PREFIX + 'embeddings.word_embeddings.weight'
    return 'discriminator_head' if table in network.arrays else None


def _stated(params: Mapping[str, Tree], model: ModelConfig, head: str | None) -> dict[str, Any]:
    query_NDHK = params['discriminator']['layers']['attention']['query']['kernel']
    up_NDF = params['discriminator']['layers']['feed_forward']['up']['kernel']
    embeddings = params['embeddings']
    return {
        'hidden_act': 'gelu',
        'num_hidden_layers': query_NDHK.shape[0],
        'hidden_size': query_NDHK.shape[1],
        'num_attention_heads': query_NDHK.shape[2],
        'intermediate_size': up_NDF.shape[2],
        'embedding_size': embeddings['word'].shape[1],
        'max_position_embeddings': embeddings['position'].shape[0],
        'type_vocab_size': embeddings['type'].shape[0],
    }


FAMILY = Family(
    bare='ElectraModel',
    prefix=_PREFIX,
    embeddings=names.EMBEDDINGS,
    encoder=names.ENCODER,
    heads=names.ELECTRA_HEADS,
    layer=r'encoder\.layer\.(\d+)\.',
    softmax='generator_lm_head',
    sizes={
        'embedding_size': 'embedding_size',
        'max_position_embeddings': 'max_positions',
        'type_vocab_size': 'type_vocab_size',
    },
    numbers={
        'hidden_dropout_prob': ('dropout', 0.1),
        'attention_probs_dropout_prob': ('attention_dropout', 0.1),
        'layer_norm_eps': ('layer_norm_epsilon', 1e-12),
        'initializer_range': ('init_stddev', 0.02),
    },
    expected={
        'model_type': 'electra',
        'hidden_act': 'gelu',
        'position_embedding_type': 'absolute',
        'is_decoder': False,
        'add_cross_attention': False,
        'pruned_heads': {},
        'quantization_config': None,
    },
    known=frozenset({
        'generator_size',
        # Of a pooling layer that these classes do not have.
        *('summary_type', 'summary_use_proj', 'summary_activation', 'summary_last_dropout'),
        *('summary_first_dropout', 'summary_proj_to_labels'),
    }),
    head_dropout=('hidden_dropout_prob', 0.1),
    head_of=_head_of,
    others=transfer.other_settings,
    stated=_stated,
    head_styles={'huggingface': {}},
    token_ids={'pad': 'pad'},
    has_types=True,
)  # fmt: skip
