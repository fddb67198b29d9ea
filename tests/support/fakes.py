"""Models whose every number is another one, so that no two tensors can be swapped unseen."""

import pathlib

import numpy as np

from electra_jax.config import resolve, shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.core.trees import named_leaves
from electra_jax.finetune import foreign
from electra_jax.interop import convert
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.tokenizers.wordpiece import WordPiece

VOCAB = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefghijklmnopqrstuvwxyz.,!?0123456789']
VOCAB += [f'##{letter}' for letter in 'abcdefghijklmnopqrstuvwxyz0123456789']
VOCAB += ['the', 'of', 'and', '##ing', '##ed', '##er', 'cafe', 'new', 'york']
VOCAB_SIZE = len(VOCAB)  # 89: padded to 128


def tokenizer(lower_case: bool = True) -> WordPiece:
    return WordPiece(VOCAB, lower_case)


def model(**changes) -> ModelConfig:
    """Four layers of two heads of 64; every size of it is another number."""
    settings = {
        'size': 'small',
        'num_layers': 4,
        'hidden_size': 128,
        'ffn_size': 512,
        'num_heads': 2,
        'embedding_size': 24,
        'generator': 'separate',
        'generator_layers': 0.5,
        'generator_width': 0.5,
        'max_positions': 40,
        'norm': 'post',
        'dropout': 0.1,
        'attention_dropout': 0.1,
        'compute_dtype': 'float32',
        'scan_unroll': 1,
        'vocab_chunks': 8,
        'flat_products': False,
        'attention': 'xla',
    }
    return resolve.model_of({**settings, **changes})


def params(model: ModelConfig, vocab_size: int = VOCAB_SIZE, discriminator_head=True, seed=0):
    """The tree of the contract, float32; rows that pad the vocabulary are zero."""
    random = np.random.default_rng(seed)
    rows = -(-vocab_size // model.vocab_multiple) * model.vocab_multiple

    def make(*shape):
        return random.standard_normal(shape, np.float32)

    def pad(x):
        return np.concatenate([x, np.zeros((rows - vocab_size, *x.shape[1:]), np.float32)])

    def dense(inputs, outputs, layers=()):
        return {
            'kernel': make(*layers, *inputs, *outputs),
            'bias': make(*layers, *outputs),
        }

    def norm(width, layers=()):
        return {'scale': make(*layers, width), 'bias': make(*layers, width)}

    def embeddings(E):
        return {
            'word': pad(make(vocab_size, E)),
            'position': make(model.max_positions, E),
            'type': make(model.type_vocab_size, E),
            'norm': norm(E),
        }

    def encoder(shape, E):
        N, D, F = (shape.num_layers,), shape.hidden_size, shape.ffn_size
        heads = (shape.num_heads, D // shape.num_heads)
        layers = {
            'attention': {
                **{name: dense((D,), heads, N) for name in ('query', 'key', 'value')},
                'output': dense(heads, (D,), N),
            },
            'attention_norm': norm(D, N),
            'feed_forward': {'up': dense((D,), (F,), N), 'down': dense((F,), (D,), N)},
            'feed_forward_norm': norm(D, N),
        }
        return {'layers': layers} | ({} if E == D else {'project': dense((E,), (D,))})

    E = model.embedding_size
    main, small = shapes.discriminator_shape(model), shapes.generator_shape(model)
    own_E = shapes.generator_embedding_size(model)
    tree = {'embeddings': embeddings(E), 'discriminator': encoder(main, E)}
    D = main.hidden_size
    if discriminator_head:
        tree['discriminator_head'] = {'dense': dense((D,), (D,)), 'output': dense((D,), (1,))}
    if model.embedding_sharing == 'untied':
        tree['generator_embeddings'] = embeddings(own_E)
    if model.embedding_sharing == 'disentangled':
        tree['embedding_delta'] = embeddings(E)
    widths = {'separate': small.hidden_size, 'two_tower': 2 * small.hidden_size, 'tied': D}
    for name in {'separate': ['generator'], 'two_tower': ['generator_ltr', 'generator_rtl']}.get(
        model.generator, []
    ):
        tree[name] = encoder(small, own_E)
    if model.generator in widths:
        tree['generator_head'] = {
            'dense': dense((widths[model.generator],), (own_E,)),
            'norm': norm(own_E),
            'output_bias': pad(make(vocab_size)),
        }
    return tree


def write_ours(folder: pathlib.Path, found: Checkpoint) -> None:
    """A workdir of a checkpoint from elsewhere, as `convert` writes it."""
    found, _ = convert._to_write(found, 'nothing', foreign.TASKS, 'float32')
    convert._write_workdir(folder, found)


def assert_same(one, other):
    """Every leaf bit for bit, and no leaf more or less."""
    one, other = dict(named_leaves(one)), dict(named_leaves(other))
    assert sorted(one) == sorted(other)
    for path, leaf in one.items():
        assert leaf.dtype == other[path].dtype == np.float32, path
        np.testing.assert_array_equal(leaf, other[path], err_msg=path)


# The shapes that the formats must carry: name -> changes to `model`.
MODELS = {
    'projected': {},
    'as_wide_as_embeddings': {'embedding_size': 128, 'generator_width': 1.0},
    'tied': {'generator': 'tied', 'generator_layers': 1.0, 'generator_width': 1.0},
    'untied': {'embedding_sharing': 'untied', 'generator_embedding_size': 64},
    'untied_narrow': {'embedding_sharing': 'untied', 'generator_embedding_size': 32},
    'three_types': {'type_vocab_size': 3, 'generator_layers': 0.25},
}
