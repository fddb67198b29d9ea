"""Trained models answer text: ``python -m electra_jax.predict --checkpoint=FOLDER --input=FILE``.

A fine-tuned model gives its labels with their probabilities, its scores, its tags or its answers; a
pre-trained one gives for each token the probability that it was replaced. Input are tables (.csv,
.tsv), JSON lines (.jsonl), CoNLL files (.conll) or plain lines, from a file or standard input;
output are JSON lines. Only the checkpoint's folder is read in addition to the input.

Examples:
    python -m electra_jax.predict --checkpoint=runs/reviews --input=new.csv --output=answers.jsonl
    python -m electra_jax.predict --checkpoint=runs/reviews --input=new.csv --columns=text_a=body
    echo 'A film to remember.' | python -m electra_jax.predict --checkpoint=runs/mine
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


from absl import flags

from electra_jax.core.errors import ConfigError
from electra_jax.finetune import predict
from electra_jax.finetune.files import predict_input
from electra_jax.runtime import cli

CHECKPOINT = flags.DEFINE_string(
    'checkpoint', None, 'a workdir of fine-tuning (its best trial), one trial, or a workdir'
)
INPUT = flags.DEFINE_string('input', '-', 'the file to read; -: standard input')
OUTPUT = flags.DEFINE_string('output', '-', 'the file to write; -: standard output')
FORMAT = flags.DEFINE_enum(
    'format',
    'auto',
    ['auto', *predict_input.FORMATS],
    "of the input; auto: by the ending of its name, 'lines' for standard input",
)
COLUMNS = flags.DEFINE_string(
    'columns', None, 'columns that are not called as in training: text_a=body,id=key'
)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 32, 'rows of a batch', lower_bound=1)


def main() -> None:
    """Reads everything, then answers row by row."""
    if CHECKPOINT.value is None:
        raise ConfigError('no model is given: type --checkpoint=WORKDIR --input=FILE')
    predict.answer_file(
        CHECKPOINT.value,
        INPUT.value,
        OUTPUT.value,
        BATCH_SIZE.value,
        FORMAT.value,
        predict_input.parse_columns(COLUMNS.value),
    )


if __name__ == '__main__':
    cli.run_without_recipe(main)
