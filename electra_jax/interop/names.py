"""The one table of names: our parameters, Google's variables, Hugging Face's tensors.

Every row names one array of ours with the letters of its dimensions, and the same array in the two
other formats. Letters without a space between them are one dimension there: our query kernel `DHK`
is Google's matrix `D HK` and PyTorch's `HK D`. Our layers are stacked along N; theirs are one array
each, with the layer's number in place of `{N}`. The names come from google-research/electra
(model/modeling.py, run_pretraining.py) and transformers 5 (modeling_electra.py).
"""

from typing import NamedTuple

GOOGLE, HUGGINGFACE = 'google', 'huggingface'


class Theirs(NamedTuple):
    """An array in another format."""

    name: str  # below the scope of its part; '{N}' is the layer's number
    letters: str  # of one layer; a space between dimensions


class Row(NamedTuple):
    """One array of ours and its counterparts."""

    ours: str  # path below its part
    letters: str
    theirs: dict[str, Theirs]  # by format

    @property
    def stacked(self) -> bool:
        """Whether our array holds all layers."""
        return self.letters.startswith('N')


def _row(ours: str, letters: str, google: Theirs | None, huggingface: Theirs) -> Row:
    both = {GOOGLE: google, HUGGINGFACE: huggingface}
    return Row(ours, letters, {name: theirs for name, theirs in both.items() if theirs})


def _table(ours: str, letters: str, name: str) -> Row:
    spaced = ' '.join(letters)
    return _row(ours, letters, Theirs(name, spaced), Theirs(f'{name}.weight', spaced))


def _dense(ours: str, letters: str, google: str | None, huggingface: str) -> tuple[Row, Row]:
    """Kernel and bias; `letters` are the kernel's: inputs, a space, outputs."""
    inputs, outputs = letters.split()
    layers = 'N' if '{N}' in huggingface else ''
    return (
        _row(
            f'{ours}/kernel',
            layers + inputs + outputs,
            None if google is None else Theirs(f'{google}/kernel', f'{inputs} {outputs}'),
            Theirs(f'{huggingface}.weight', f'{outputs} {inputs}'),
        ),
        _row(
            f'{ours}/bias',
            layers + outputs,
            None if google is None else Theirs(f'{google}/bias', outputs),
            Theirs(f'{huggingface}.bias', outputs),
        ),
    )


def _norm(ours: str, letter: str, google: str, huggingface: str) -> tuple[Row, ...]:
    letters = ('N' if '{N}' in huggingface else '') + letter
    return tuple(
        _row(
            f'{ours}/{leaf}',
            letters,
            Theirs(f'{google}/{there}', letter),
            Theirs(f'{huggingface}.{torch}', letter),
        )
        for leaf, there, torch in (('scale', 'gamma', 'weight'), ('bias', 'beta', 'bias'))
    )


_TF, _PT = 'encoder/layer_{N}/', 'encoder.layer.{N}.'

EMBEDDINGS = (
    _table('word', 'VE', 'word_embeddings'),
    _table('position', 'LE', 'position_embeddings'),
    _table('type', 'TE', 'token_type_embeddings'),
    *_norm('norm', 'E', 'LayerNorm', 'LayerNorm'),
)

# A model has `project` only where E and D differ.
ENCODER = (
    *_dense('project', 'E D', 'embeddings_project', 'embeddings_project'),
    *_dense(
        'layers/attention/query', 'D HK', _TF + 'attention/self/query', _PT + 'attention.self.query'
    ),
    *_dense('layers/attention/key', 'D HK', _TF + 'attention/self/key', _PT + 'attention.self.key'),
    *_dense(
        'layers/attention/value', 'D HK', _TF + 'attention/self/value', _PT + 'attention.self.value'
    ),
    *_dense(
        'layers/attention/output',
        'HK D',
        _TF + 'attention/output/dense',
        _PT + 'attention.output.dense',
    ),
    *_norm(
        'layers/attention_norm',
        'D',
        _TF + 'attention/output/LayerNorm',
        _PT + 'attention.output.LayerNorm',
    ),
    *_dense(
        'layers/feed_forward/up', 'D F', _TF + 'intermediate/dense', _PT + 'intermediate.dense'
    ),
    *_dense('layers/feed_forward/down', 'F D', _TF + 'output/dense', _PT + 'output.dense'),
    *_norm('layers/feed_forward_norm', 'D', _TF + 'output/LayerNorm', _PT + 'output.LayerNorm'),
)

GENERATOR_HEAD = (
    *_dense('dense', 'D E', 'dense', 'generator_predictions.dense'),
    *_norm('norm', 'E', 'LayerNorm', 'generator_predictions.LayerNorm'),
    _row('output_bias', 'V', Theirs('output_bias', 'V'), Theirs('generator_lm_head.bias', 'V')),
)

DISCRIMINATOR_HEAD = (
    *_dense('dense', 'D F', 'dense', 'discriminator_predictions.dense'),
    *_dense('output', 'F C', 'dense_1', 'discriminator_predictions.dense_prediction'),
)

_CLASSIFICATION_HEAD = (
    *_dense('dense', 'D F', None, 'classifier.dense'),
    *_dense('output', 'F C', None, 'classifier.out_proj'),
)

# Heads of fine-tuned models, by kind of task (config.task.head='huggingface'). The heads of the
# reference have other layers and cannot be converted.
TASK_HEADS = {
    'classification': _CLASSIFICATION_HEAD,
    'regression': _CLASSIFICATION_HEAD,
    'tagging': _dense('output', 'D C', None, 'classifier'),
    'spans': _dense('output', 'D C', None, 'qa_outputs'),
}


class Part(NamedTuple):
    """A part of our tree, its rows, and the prefix of its names in the other format."""

    ours: str
    rows: tuple[Row, ...]
    prefix: str


# Google's variable scopes in a checkpoint of both networks. Shared embeddings are below electra/.
GOOGLE_PARTS = (
    Part('embeddings', EMBEDDINGS, 'electra/embeddings/'),
    Part('generator_embeddings', EMBEDDINGS, 'generator/embeddings/'),
    Part('generator', ENCODER, 'generator/'),
    Part('generator_ltr', ENCODER, 'generator_ltr/'),
    Part('generator_rtl', ENCODER, 'generator_rtl/'),
    Part('generator_head', GENERATOR_HEAD, 'generator_predictions/'),
    Part('discriminator', ENCODER, 'electra/'),
    Part('discriminator_head', DISCRIMINATOR_HEAD, 'discriminator_predictions/'),
)
# With two towers the generator's head has another scope (run_pretraining.py:288-335).
TWO_TOWER_HEAD = Part('generator_head', GENERATOR_HEAD, 'cloze_predictions/')

# Hugging Face's classes: one network per folder. Only ElectraModel has no 'electra.' prefix.
_NETWORK = (
    Part('embeddings', EMBEDDINGS, 'electra.embeddings.'),
    Part('discriminator', ENCODER, 'electra.'),
)
_BARE_NETWORK = (
    Part('embeddings', EMBEDDINGS, 'embeddings.'),
    Part('discriminator', ENCODER, ''),
)
HUGGINGFACE_PARTS = {
    'ElectraForPreTraining': (*_NETWORK, Part('discriminator_head', DISCRIMINATOR_HEAD, '')),
    'ElectraForMaskedLM': (*_NETWORK, Part('generator_head', GENERATOR_HEAD, '')),
    'ElectraForSequenceClassification': (
        *_NETWORK,
        Part('task_head', TASK_HEADS['classification'], ''),
    ),
    'ElectraForTokenClassification': (*_NETWORK, Part('task_head', TASK_HEADS['tagging'], '')),
    'ElectraForQuestionAnswering': (*_NETWORK, Part('task_head', TASK_HEADS['spans'], '')),
    'ElectraModel': _BARE_NETWORK,
}
# The class for a kind of task; to transformers a classifier with one output is a regression.
CLASS_OF = {
    'classification': 'ElectraForSequenceClassification',
    'regression': 'ElectraForSequenceClassification',
    'tagging': 'ElectraForTokenClassification',
    'spans': 'ElectraForQuestionAnswering',
}

# Names in their files that are not parameters of the networks: pattern -> what it is.
IGNORED = {
    GOOGLE: {
        r'.+/adam_[mv]': "moments of Google's Adam",
        r'global_step': 'number of steps taken',
        r'task_specific/.+': "head of a task that Google's code fine-tuned",
        r'_CHECKPOINTABLE_OBJECT_GRAPH|save_counter(/.*)?': "TensorFlow's own bookkeeping",
    },
    HUGGINGFACE: {
        r'(electra\.)?embeddings\.(position_ids|token_type_ids)': 'buffer that holds no weights',
    },
}

# Parts of our tree without a counterpart; they are not converted, and the report names them.
LEFT_OUT = {
    'language_head': 'a softmax on the discriminator (Replace MLM, All-Tokens MLM)',
    'copy_gate': "the gate of All-Tokens MLM's copy mechanism",
    'selection_head': 'the word selection head of TEAMS',
    'detector': 'the last layer of the detector of TEAMS',
}
