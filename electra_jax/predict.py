"""Trained models answer text: ``python -m electra_jax.predict --checkpoint=FOLDER --input=FILE``.

A fine-tuned model gives its labels with their probabilities, its scores, its tags or its answers; a
pre-trained one gives for each token the probability that it was replaced. ``--task`` names other
things that a checkpoint can do. Input are tables (.csv, .tsv), JSON lines (.jsonl), CoNLL files
(.conll) or plain lines, from a file or standard input; output are JSON lines. Only the checkpoint's
folder is read in addition to the input. In Python, `electra_jax.load` does the same. With
``--listen`` each line of standard input is answered when it comes. The exit status is 4 where rows
could not be used; all others are answered.

Examples:
    python -m electra_jax.predict --checkpoint=runs/reviews --input=new.csv --output=answers.jsonl
    python -m electra_jax.predict --checkpoint=runs/reviews --input=new.csv --columns=text_a=body
    echo 'A film to remember.' | python -m electra_jax.predict --checkpoint=runs/mine
"""

import sys

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


from absl import flags

from electra_jax.core.errors import ConfigError
from electra_jax.finetune.files import predict_input
from electra_jax.inference import files, listen
from electra_jax.inference.abilities.pairs import ALL
from electra_jax.inference.abilities.score import SCORERS
from electra_jax.inference.ability import Options
from electra_jax.inference.loaded import TASKS
from electra_jax.runtime import cli

CHECKPOINT = cli.checkpoint_flag()
TASK = flags.DEFINE_enum(
    'task', 'auto', TASKS,
    'auto: what it was fine-tuned on, or else detect; detect: the probability that each token was '
    'replaced; embed: a vector for each text; similarity: the cosine of the vectors of text_a and '
    'text_b; retrieve: how far up text_b is among those of all rows; fill_mask: the likeliest '
    'tokens for each [MASK]; score: how likely a text is; pairs: which sentence of sentence_good '
    'and sentence_bad is more likely; rerank: the order of the texts with one id, the likeliest '
    'first; zero_shot: one of some labels for each text, by a template',
)  # fmt: skip
INPUT = flags.DEFINE_string('input', '-', 'file or folder of files to read; -: standard input')
OUTPUT = flags.DEFINE_string(
    'output', '-', 'the file to write; -: standard output; for embed also NAME.npy'
)
FORMAT = flags.DEFINE_enum(
    'format', 'auto', ['auto', *predict_input.FORMATS],
    "of the input; auto: by the ending of its name, 'lines' for standard input, but not where they "
    'look like another format',
)  # fmt: skip
COLUMNS = flags.DEFINE_string(
    'columns', None,
    'columns that are not called as in training: text_a=body,id=key; of zero_shot and similarity '
    'also label=NAME',
)  # fmt: skip
LISTEN = flags.DEFINE_bool(
    'listen', False,
    'answer each line of standard input when it comes, on standard output: what predict writes, or '
    'the id of the line and an error; until the input ends, or Ctrl-C',
)  # fmt: skip
BATCH_SIZE = flags.DEFINE_integer('batch_size', 32, 'rows of a batch', lower_bound=1)
TOP_K = flags.DEFINE_integer('top_k', 5, 'fill_mask: tokens for each [MASK]', lower_bound=1)
SCORER = flags.DEFINE_enum(
    'scorer', None, (*SCORERS, ALL),
    'of score, pairs and rerank: generator (a position masked at a time), discriminator, electric; '
    'of pairs also all: each that the checkpoint has; of zero_shot: discriminator, generator; if '
    'not given: what suits the checkpoint best',
)  # fmt: skip
TEMPLATE = flags.DEFINE_string(
    'template', None, 'zero_shot: sentiment, topic, entailment, or text with {text} and {label}'
)
LABELS = flags.DEFINE_string(
    'labels', None, 'zero_shot: labels and their words: sports,politics or 1=good|great,0=bad'
)


def main() -> None:
    """Reads everything, then answers row by row; or answers line by line."""
    if CHECKPOINT.value is None:
        raise ConfigError('no model is given: type --checkpoint=WORKDIR --input=FILE')
    columns = predict_input.parse_columns(COLUMNS.value)
    options = Options(TOP_K.value, SCORER.value, TEMPLATE.value, LABELS.value)
    if LISTEN.value:
        form = listen.checked_form(INPUT.value, OUTPUT.value, FORMAT.value)
        model = files.open_model(CHECKPOINT.value, BATCH_SIZE.value)
        listener = listen.Listener(model.work(TASK.value, options), form, columns)
        listen.run(listener, model.where, BATCH_SIZE.value)
        return
    job = files.job(TASK.value, options, INPUT.value, OUTPUT.value, FORMAT.value, columns)
    if files.answer(files.open_model(CHECKPOINT.value, BATCH_SIZE.value), job):
        sys.exit(files.LEFT_OUT)


if __name__ == '__main__':
    cli.run_without_recipe(main)
