"""The one table of names: our parameters, Google's variables, transformers' tensors.

Every row names one array of ours with the letters of its dimensions, and the same array in the two
other formats. Letters without a space between them are one dimension there: our query kernel `DHK`
is Google's matrix `D HK`; PyTorch keeps kernels transposed, as `HK D`. Our layers are stacked along
N; theirs are one array each, with the layer's number in place of `{N}`. The names come from
google-research/electra (model/modeling.py, run_pretraining.py) and transformers 5
(modeling_electra.py, modeling_modernbert.py). Those of transformers' Electra are Google's with
dots, but for the heads of pre-training; Google's code has nothing like ModernBERT.
"""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One array of ours and its counterparts."""

    ours: str  # path below its part
    letters: str  # of one layer in Google's files
    google: str  # name below the scope of its part; '{N}' is the layer's number; '': none
    huggingface: str
    maps: int = 1  # G, of an array that holds several maps
    first: int = 0  # the first layer that has it there

    @property
    def stacked(self) -> bool:
        """Whether our array holds all layers."""
        return '{N}' in self.huggingface

    @property
    def our_letters(self) -> str:
        """The letters of one layer of our array, none of them merged: ``'D H K'``."""
        return ' '.join(self.letters.replace(' ', ''))


def _with_slashes(name: str) -> str:
    """Google's name of what transformers calls `name`."""
    return name.replace('layer.', 'layer_').replace('.', '/')


def _table(ours: str, letters: str, name: str) -> Row:
    return Row(ours, letters, name, f'{name}.weight')


def _dense(ours: str, letters: str, name: str, google: str = '') -> tuple[Row, Row]:
    """Kernel and bias; `letters` are the kernel's: inputs, a space, outputs."""
    google = google or _with_slashes(name)
    outputs = letters.split()[1]
    return (
        Row(f'{ours}/kernel', letters, f'{google}/kernel', f'{name}.weight'),
        Row(f'{ours}/bias', outputs, f'{google}/bias', f'{name}.bias'),
    )


def _norm(ours: str, letter: str, name: str, google: str = '') -> tuple[Row, Row]:
    google = google or _with_slashes(name)
    return (
        Row(f'{ours}/scale', letter, f'{google}/gamma', f'{name}.weight'),
        Row(f'{ours}/bias', letter, f'{google}/beta', f'{name}.bias'),
    )


EMBEDDINGS = (
    _table('word', 'V E', 'word_embeddings'),
    _table('position', 'L E', 'position_embeddings'),
    _table('type', 'T E', 'token_type_embeddings'),
    *_norm('norm', 'E', 'LayerNorm'),
)

_LAYER = 'encoder.layer.{N}.'
ENCODER = (
    *_dense('project', 'E D', 'embeddings_project'),  # only where E and D differ
    *_dense('layers/attention/query', 'D HK', _LAYER + 'attention.self.query'),
    *_dense('layers/attention/key', 'D HK', _LAYER + 'attention.self.key'),
    *_dense('layers/attention/value', 'D HK', _LAYER + 'attention.self.value'),
    *_dense('layers/attention/output', 'HK D', _LAYER + 'attention.output.dense'),
    *_norm('layers/attention_norm', 'D', _LAYER + 'attention.output.LayerNorm'),
    *_dense('layers/feed_forward/up', 'D F', _LAYER + 'intermediate.dense'),
    *_dense('layers/feed_forward/down', 'F D', _LAYER + 'output.dense'),
    *_norm('layers/feed_forward_norm', 'D', _LAYER + 'output.LayerNorm'),
)

GENERATOR_HEAD = (
    *_dense('dense', 'D E', 'generator_predictions.dense', 'dense'),
    *_norm('norm', 'E', 'generator_predictions.LayerNorm', 'LayerNorm'),
    Row('output_bias', 'V', 'output_bias', 'generator_lm_head.bias'),
)

DISCRIMINATOR_HEAD = (
    *_dense('dense', 'D F', 'discriminator_predictions.dense', 'dense'),
    *_dense('output', 'F C', 'discriminator_predictions.dense_prediction', 'dense_1'),
)

_CLASSIFICATION_HEAD = (
    *_dense('dense', 'D F', 'classifier.dense'),
    *_dense('output', 'F C', 'classifier.out_proj'),
)
# Heads of fine-tuned models (config.task.head='huggingface'), by kind of task: transformers' class,
# and the rows. Google's heads have other layers and cannot be converted.
TASK_HEADS = {
    'classification': ('ElectraForSequenceClassification', _CLASSIFICATION_HEAD),
    'multi_label': ('ElectraForSequenceClassification', _CLASSIFICATION_HEAD),
    'regression': ('ElectraForSequenceClassification', _CLASSIFICATION_HEAD),
    'tagging': ('ElectraForTokenClassification', _dense('output', 'D C', 'classifier')),
    'spans': ('ElectraForQuestionAnswering', _dense('output', 'D C', 'qa_outputs')),
}
# What transformers calls the kinds of tasks on whole rows (problem_type).
PROBLEMS = {
    'classification': 'single_label_classification',
    'multi_label': 'multi_label_classification',
    'regression': 'regression',
}


# ModernBERT's block, in a tree of ours that has all of it (`Family.written_out`).
def _modern(rows: tuple[Row, ...], **fields: Any) -> tuple[Row, ...]:
    return tuple(row._replace(google='', **fields) for row in rows)


MODERN_EMBEDDINGS = _modern((
    _table('word', 'V E', 'tok_embeddings'),
    *_norm('norm', 'E', 'norm'),
))  # fmt: skip
_LAYER = 'layers.{N}.'
MODERN_ENCODER = (
    *_modern(_norm('layers/attention_norm', 'D', _LAYER + 'attn_norm'), first=1),
    *_modern(_dense('layers/attention/qkv', 'D GHK', _LAYER + 'attn.Wqkv'), maps=3),
    *_modern(_dense('layers/attention/output', 'HK D', _LAYER + 'attn.Wo')),
    *_modern(_norm('layers/feed_forward_norm', 'D', _LAYER + 'mlp_norm')),
    *_modern(_dense('layers/feed_forward/gate_up', 'D GF', _LAYER + 'mlp.Wi'), maps=2),
    *_modern(_dense('layers/feed_forward/down', 'F D', _LAYER + 'mlp.Wo')),
    *_modern(_norm('norm', 'D', 'final_norm')),
)
MODERN_GENERATOR_HEAD = _modern((
    *_dense('dense', 'D E', 'head.dense'),
    *_norm('norm', 'E', 'head.norm'),
    Row('output_bias', 'V', '', 'decoder.bias'),
))  # fmt: skip
# Of all kinds, on whole rows and on tokens.
MODERN_HEAD = _modern((
    *_dense('dense', 'D F', 'head.dense'),
    *_norm('norm', 'F', 'head.norm'),
    *_dense('output', 'F C', 'classifier'),
))  # fmt: skip


class Part(NamedTuple):
    """A part of our tree in another format, Google's or that of transformers."""

    ours: str
    rows: tuple[Row, ...]
    prefix: str  # of its names there
    is_google: bool = False

    def names(self, row: Row, num_layers: int) -> list[str]:
        """The names that a row has there, one a layer."""
        name = self.prefix + (row.google if self.is_google else row.huggingface)
        if not row.stacked:
            return [name]
        return [name.format(N=layer) for layer in range(row.first, num_layers)]

    def letters(self, row: Row) -> str:
        """The letters of one layer there."""
        words = row.letters.split()
        is_transposed = row.ours.endswith('kernel') and not self.is_google
        return ' '.join(words[::-1] if is_transposed else words)


# Google's variable scopes in a checkpoint of both networks. Shared embeddings are below electra/.
GOOGLE_PARTS = (
    Part('embeddings', EMBEDDINGS, 'electra/embeddings/', is_google=True),
    Part('generator_embeddings', EMBEDDINGS, 'generator/embeddings/', is_google=True),
    Part('generator', ENCODER, 'generator/', is_google=True),
    Part('generator_ltr', ENCODER, 'generator_ltr/', is_google=True),
    Part('generator_rtl', ENCODER, 'generator_rtl/', is_google=True),
    Part('generator_head', GENERATOR_HEAD, 'generator_predictions/', is_google=True),
    Part('discriminator', ENCODER, 'electra/', is_google=True),
    Part('discriminator_head', DISCRIMINATOR_HEAD, 'discriminator_predictions/', is_google=True),
)
# With two towers the generator's head has another scope (run_pretraining.py:288-335).
TWO_TOWER_SCOPE = 'cloze_predictions/'


# A part of ours, or a kind of task -> transformers' class, and the rows of its head.
ELECTRA_HEADS = {
    'discriminator_head': ('ElectraForPreTraining', DISCRIMINATOR_HEAD),
    'generator_head': ('ElectraForMaskedLM', GENERATOR_HEAD),
    **TASK_HEADS,
}
MODERN_HEADS = {
    # A class for tags, which has the one output of detection here.
    'discriminator_head': ('ModernBertForTokenClassification', MODERN_HEAD),
    'generator_head': ('ModernBertForMaskedLM', MODERN_GENERATOR_HEAD),
    **{
        kind: (name.replace('Electra', 'ModernBert'), MODERN_HEAD)
        for kind, (name, _) in TASK_HEADS.items()
    },
}


# Names in their files that are not parameters of the networks: pattern -> what it is.
IGNORED = {
    r'.+/adam_[mv]': "moments of Google's Adam",
    r'global_step': 'number of steps taken',
    r'task_specific/.+': "head of a task that Google's code fine-tuned",
    r'_CHECKPOINTABLE_OBJECT_GRAPH|save_counter(/.*)?': "TensorFlow's own bookkeeping",
    r'(.+[./])?embeddings\.(position_ids|token_type_ids)': 'buffer that holds no weights',
}

# Parts of our tree without a counterpart; they are not converted, and the report names them. So are
# tables of an embedding block, of images before a text.
IMAGE_TABLES = {'patch', 'image_row', 'image_column'}
LEFT_OUT = {
    'language_head': 'a softmax on the discriminator (Replace MLM, All-Tokens MLM)',
    'copy_gate': "the gate of All-Tokens MLM's copy mechanism",
    'selection_head': 'the word selection head of TEAMS',
    'detector': 'the last layer of the detector of TEAMS',
}
