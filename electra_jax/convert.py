"""Converts checkpoints of ELECTRA: ``--source=KIND:PATH --target=KIND:PATH``.

KIND is `google` (TensorFlow checkpoints of google-research/electra), `huggingface` (folders of
transformers' Electra and ModernBERT classes), `ours` (a workdir) or `safetensors` (ours in one
file, to pass on). Every kind can be converted to every other, where the other project has the
model's block; a target may also be `sentence_transformers`, the encoder with a mean over tokens.
`ours` to `ours` writes a workdir without the optimizer's state, a third of the size.

Examples:
    python -m electra_jax.convert --source=google:electra_small --target=ours:runs/from_google
    python -m electra_jax.convert --source=ours:runs/mine --target=huggingface:exported --check
    python -m electra_jax.convert --source=ours:runs/mine --target=safetensors:mean --average_last=5
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


from absl import flags

from electra_jax.finetune.foreign import TASKS
from electra_jax.interop.convert import How, convert
from electra_jax.interop.files import FLOATS
from electra_jax.runtime import cli

SOURCE = flags.DEFINE_string('source', None, 'KIND:PATH of the checkpoint to read')
TARGET = flags.DEFINE_string('target', None, 'KIND:PATH of the checkpoint to write')
VOCAB = flags.DEFINE_string(
    'vocab', None, 'google: the vocab.txt, where it is not next to the checkpoint'
)
LOWER_CASE = flags.DEFINE_bool(
    'lower_case', None, 'google: whether text is lower-cased; if not given: as the '
    'tokenizer_config.json next to the vocabulary has it, or as its pieces show'
)  # fmt: skip
NUM_HEADS = flags.DEFINE_integer(
    'num_heads', None, "google: the discriminator's attention heads; if not given: one for each 64 "
    'of its width', lower_bound=1,
)  # fmt: skip
AVERAGE_LAST = flags.DEFINE_integer(
    'average_last', None, 'ours: write the mean of so many of the newest checkpoints of a workdir',
    lower_bound=2,
)  # fmt: skip
RUNNING_AVERAGE = flags.DEFINE_bool(
    'running_average', False, 'ours: write the running mean of the parameters '
    '(config.optimizer.average_decay) in place of them',
)  # fmt: skip
CHECK = flags.DEFINE_bool(
    'check', False, 'compare what the converted model computes with transformers, which must be '
    'installed; a difference is an error, and nothing is written'
)  # fmt: skip
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', FLOATS, 'of the parameters that are written; bfloat16 takes half the space'
)
LICENSE = flags.DEFINE_string('license', None, 'stated in the model card, such as apache-2.0')
RESULTS = flags.DEFINE_list(
    'results', [], 'FILE,FILE: results.json of fine-tuning runs that started from this checkpoint, '
    'for its model card; of a fine-tuned model its own is found',
)  # fmt: skip
REVISION = flags.DEFINE_string(
    'revision', None, 'step-N: the checkpoint of that step of a workdir; if not given: its newest'
)


def main() -> None:
    """Converts, and prints what was read, written and left out."""
    typed = {flag.name: flag.value for flag in (VOCAB, LOWER_CASE, NUM_HEADS)}
    google = {name: value for name, value in typed.items() if value is not None}
    how = How(
        DTYPE.value,
        CHECK.value,
        LICENSE.value,
        RESULTS.value,
        REVISION.value,
        AVERAGE_LAST.value,
        RUNNING_AVERAGE.value,
    )
    for line in convert(SOURCE.value, TARGET.value, TASKS, google, how):
        print(line, flush=True)


if __name__ == '__main__':
    cli.run_without_recipe(main)
