"""Model sizes by name, the paper's (ELECTRA Table 6) and others, and kinds of generators."""

from typing import Any


def _size(
    num_layers: int, hidden_size: int, embedding_size: int, generator_width: float, **others: Any
) -> dict[str, Any]:
    """A model of BERT's layers, except for `others`."""
    return {
        'num_layers': num_layers,
        'hidden_size': hidden_size,
        'embedding_size': embedding_size,
        'generator_width': generator_width,
        'generator_layers': 1.0,
        'max_positions': 512,
        'norm': 'post',
        'dropout': 0.1,
        'attention_dropout': 0.1,
        **others,
    }


# N, D, E, and the generator's width as a fraction of D. Every value can be overridden under `model`
# in a recipe or on the command line.
MODEL_SIZES: dict[str, dict[str, Any]] = {
    # Not the paper's: learns something in minutes on two cores. Pre-norm, because a post-norm
    # discriminator of this size stays at chance for its first million tokens.
    'tiny': _size(
        3, 128, 128, 1 / 2, num_heads=4, norm='pre', dropout=0.0, attention_dropout=0.0,
        max_positions=128,
    ),
    'small': _size(12, 256, 128, 1 / 4),
    'base': _size(12, 768, 768, 1 / 3),
    # The released "small++": a generator of full size, longer rows (see configs/small_plus.py).
    'small_plus': _size(12, 256, 128, 1.0),
    'large': _size(24, 1024, 1024, 1 / 4),
    # Not the paper's, for many chips: pre-norm, so that so many layers start stable, and without
    # dropout on attention probabilities, so that a flash kernel can compute them. About 1.5 B.
    'xlarge': _size(48, 1536, 1536, 1 / 3, norm='pre', attention_dropout=0.0),
    # About 5 B, as METRO-LM's largest (2204.06644); the shape is ours. The generator has 16 heads,
    # which tensor parallelism can divide as it can the discriminator's 40.
    'xxlarge': _size(64, 2560, 2560, 2 / 5, norm='pre', attention_dropout=0.0),
}  # fmt: skip

# What proposes the replaced tokens.
GENERATORS: dict[str, str] = {
    'separate': 'a masked language model of its own, smaller than the discriminator (the paper)',
    'tied': "the discriminator's own encoder, with a softmax head on it (section 3.2)",
    'two_tower': 'a left-to-right and a right-to-left encoder; sees all the text but the token '
    'itself, and learns from every token (Electric, section 2.3)',
    'uniform': 'nothing: every token of the vocabulary is as likely',
    'unigram': 'nothing: tokens are as likely as in the training text',
}
