"""What a family of transformers' classes states about its networks: names, settings, block."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.config.settings import ModelConfig
from electra_jax.core.trees import Tree
from electra_jax.interop.files import Network
from electra_jax.interop.names import Part, Row

# Their names of the fields of `EncoderShape`, in order; all families have them.
SHAPE = ('num_hidden_layers', 'hidden_size', 'intermediate_size', 'num_attention_heads')
# Settings that are read elsewhere, or that change nothing that our networks compute.
KNOWN = frozenset({
    *('architectures', 'vocab_size', 'id2label', 'label2id', 'num_labels', '_num_labels', 'dtype'),
    *('problem_type', 'classifier_dropout', 'tie_word_embeddings', 'tokenizer_class', 'use_cache'),
    *('torch_dtype', 'transformers_version', 'name_or_path', '_name_or_path', 'finetuning_task'),
    *('gradient_checkpointing', 'output_attentions', 'output_hidden_states', 'return_dict'),
    *('use_return_dict', 'torchscript', 'chunk_size_feed_forward', 'language'),
    *('task_specific_params', '_attn_implementation', 'attn_implementation', 'output_past'),
    *(f'{name}_token_id' for name in ('pad', 'bos', 'eos', 'sep', 'cls', 'mask')),
})  # fmt: skip


class Family(NamedTuple):
    """Classes of transformers that have one kind of block."""

    bare: str  # the class without a head
    prefix: str  # of the encoder's names in classes that have one
    embeddings: tuple[Row, ...]
    encoder: tuple[Row, ...]
    # A part of ours, or a kind of task -> the class, and the rows of its head.
    heads: dict[str, tuple[str, tuple[Row, ...]]]
    layer: str  # pattern of the beginning of a layer's names, below the encoder's scope
    softmax: str  # the dense layer over the vocabulary, which has the word table for its weight
    # Their name of another size than `SHAPE` -> ours.
    sizes: Mapping[str, str]
    # Their name of a number that shapes do not show -> ours, and their default.
    numbers: Mapping[str, tuple[str, float]]
    # Settings that have only one value in our networks -> it; another value is refused.
    expected: Mapping[str, Any]
    known: frozenset[str]  # further settings that are read, or that change nothing
    # Their name, and default, of a head's dropout where classifier_dropout is not stated.
    head_dropout: tuple[str, float]
    # A network -> its head, a key of `heads`; None: it has none.
    head_of: Callable[[Network], str | None]
    # A model -> its settings of which the block has another value -> that value.
    others: Callable[[ModelConfig], dict[str, Any]]
    # Parameters of one network, written out; its model, the head -> their settings of block and
    # head that the sizes above do not show.
    stated: Callable[[Mapping[str, Tree], ModelConfig, str | None], dict[str, Any]]
    # Style of a task's head (config.task.head) -> what they state about it.
    head_styles: Mapping[str, dict[str, Any]]
    token_ids: Mapping[str, str]  # special tokens whose ids they state -> ours
    has_types: bool  # whether the networks tell the two texts of a pair apart
    # The settings of networks with one block -> ours of that block.
    block: Callable[[Sequence[Network]], dict[str, Any]] = lambda networks: {}
    # A network's tensors as `parts` names them, whatever of them the settings leave out.
    arrays: Callable[[Network], dict[str, np.ndarray]] = lambda network: dict(network.arrays)
    # Parameters that were read, their model -> those that the model has.
    folded: Callable[[dict[str, Tree], ModelConfig], dict[str, Tree]] = lambda params, model: params
    # The inverse: parameters of one network as the rows name them.
    written_out: Callable[[Mapping[str, Tree]], dict[str, Tree]] = dict
    # A model -> parts that the classes have no place for -> why.
    no_place: Callable[[ModelConfig], dict[str, str]] = lambda model: {}

    @property
    def model_type(self) -> str:
        """What config.json calls the family."""
        return self.expected['model_type']

    @property
    def usual_style(self) -> tuple[str, dict[str, Any]]:
        """The first style of heads, and what is stated about it."""
        return next(iter(self.head_styles.items()))

    def name(self, head: str | None) -> str:
        """The class with a head."""
        return self.bare if head is None else self.heads[head][0]

    def parts(self, head: str | None) -> tuple[Part, ...]:
        """The parts in a folder of the class with a head, the head last."""
        prefix = '' if head is None else self.prefix
        network = (
            Part('embeddings', self.embeddings, f'{prefix}embeddings.'),
            Part('discriminator', self.encoder, prefix),
        )
        if head is None:
            return network
        ours = head if head.endswith('_head') else 'task_head'
        return (*network, Part(ours, self.heads[head][1], ''))

    def word_table(self, head: str | None) -> str:
        """The name of the word table."""
        part = self.parts(head)[0]
        return part.prefix + part.rows[0].huggingface
