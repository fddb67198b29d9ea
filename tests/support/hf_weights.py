"""Our parameters in the names of transformers' Electra classes, for tests that compare the two."""

import numpy as np


def hf_config(model, vocab_rows, **changes):
    """An ElectraConfig of the discriminator of a resolved model, without dropout."""
    import transformers

    return transformers.ElectraConfig(
        vocab_size=vocab_rows,
        embedding_size=model.embedding_size,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        intermediate_size=model.ffn_size,
        max_position_embeddings=model.max_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=model.layer_norm_epsilon,
        attn_implementation='eager',
        **changes,
    )


def encoder_weights(params) -> dict[str, np.ndarray]:
    """Embeddings and discriminator; kernels [in, out] become weights [out, in]."""
    found = {}

    def norm(name, tree, at=...):
        found[f'{name}.weight'], found[f'{name}.bias'] = tree['scale'][at], tree['bias'][at]

    def dense(name, tree, at=..., inputs=1):
        kernel = np.asarray(tree['kernel'][at])
        inner = int(np.prod(kernel.shape[:inputs]))
        found[f'{name}.weight'] = kernel.reshape(inner, -1).T
        found[f'{name}.bias'] = np.asarray(tree['bias'][at]).reshape(-1)

    tables, encoder = params['embeddings'], params['discriminator']
    for ours, theirs in (('word', 'word'), ('position', 'position'), ('type', 'token_type')):
        found[f'embeddings.{theirs}_embeddings.weight'] = tables[ours]
    norm('embeddings.LayerNorm', tables['norm'])
    if 'project' in encoder:
        dense('embeddings_project', encoder['project'])
    layers = encoder['layers']
    for i in range(layers['attention_norm']['scale'].shape[0]):
        at = f'encoder.layer.{i}'
        for projection in ('query', 'key', 'value'):
            dense(f'{at}.attention.self.{projection}', layers['attention'][projection], i)
        dense(f'{at}.attention.output.dense', layers['attention']['output'], i, inputs=2)
        norm(f'{at}.attention.output.LayerNorm', layers['attention_norm'], i)
        dense(f'{at}.intermediate.dense', layers['feed_forward']['up'], i)
        dense(f'{at}.output.dense', layers['feed_forward']['down'], i)
        norm(f'{at}.output.LayerNorm', layers['feed_forward_norm'], i)
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def head_weights(head, names) -> dict[str, np.ndarray]:
    """`names`: our layer -> theirs."""
    found = {}
    for ours, theirs in names.items():
        found[f'{theirs}.weight'] = np.asarray(head[ours]['kernel']).T
        found[f'{theirs}.bias'] = np.asarray(head[ours]['bias'])
    return found


def load_into(module, params, names):
    """Loads our weights into a transformers model with a head; every weight must be given."""
    import torch

    weights = {f'electra.{name}': value for name, value in encoder_weights(params).items()}
    weights |= head_weights(params['task_head'], names)
    state = {name: torch.tensor(np.array(value)) for name, value in weights.items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected and all(
        'position_ids' in name or 'token_type_ids' in name for name in missing
    ), (missing, unexpected)
    return module
