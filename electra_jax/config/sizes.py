"""Model sizes by name, the paper's (ELECTRA Table 6) and others, and kinds of generators."""

from typing import Any

_BERT: dict[str, Any] = {
    'max_positions': 512,
    'norm': 'post',
    'dropout': 0.1,
    'attention_dropout': 0.1,
    'generator_layers': 1.0,
}

# Every value can be overridden under `model` in a recipe or on the command line.
MODEL_SIZES: dict[str, dict[str, Any]] = {
    # Not the paper's: learns something in minutes on two cores. Pre-norm, because a post-norm
    # discriminator of this size stays at chance for its first million tokens.
    'tiny': {
        **_BERT,
        'num_layers': 3,
        'hidden_size': 128,
        'num_heads': 4,
        'embedding_size': 128,
        'generator_width': 0.5,
        'norm': 'pre',
        'dropout': 0.0,
        'attention_dropout': 0.0,
        'max_positions': 128,
    },
    'small': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 256,
        'embedding_size': 128,
        'generator_width': 1 / 4,
    },
    'base': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 768,
        'embedding_size': 768,
        'generator_width': 1 / 3,
    },
    # The released "small++": a generator of full size, longer rows (see configs/small_plus.py).
    'small_plus': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 256,
        'embedding_size': 128,
        'generator_width': 1.0,
    },
    'large': {
        **_BERT,
        'num_layers': 24,
        'hidden_size': 1024,
        'embedding_size': 1024,
        'generator_width': 1 / 4,
    },
    # Not the paper's, for many chips: pre-norm, so that so many layers start stable, and without
    # dropout on attention probabilities, so that a flash kernel can compute them. About 1.5 B.
    'xlarge': {
        **_BERT,
        'num_layers': 48,
        'hidden_size': 1536,
        'embedding_size': 1536,
        'generator_width': 1 / 3,
        'norm': 'pre',
        'attention_dropout': 0.0,
    },
    # About 5 B, as METRO-LM's largest (2204.06644); the shape is ours. The generator has 16 heads,
    # which tensor parallelism can share out as it can the discriminator's 40.
    'xxlarge': {
        **_BERT,
        'num_layers': 64,
        'hidden_size': 2560,
        'embedding_size': 2560,
        'generator_width': 2 / 5,
        'norm': 'pre',
        'attention_dropout': 0.0,
    },
}

# What proposes the replaced tokens.
GENERATORS: dict[str, str] = {
    'separate': 'a masked language model of its own, smaller than the discriminator (the paper)',
    'tied': "the discriminator's own encoder, with a softmax head on it (section 3.2)",
    'two_tower': 'a left-to-right and a right-to-left encoder; sees all the text but the token '
    'itself, and learns from every token (Electric, section 2.3)',
    'uniform': 'nothing: every token of the vocabulary is as likely',
    'unigram': 'nothing: tokens are as likely as in the training text',
}
