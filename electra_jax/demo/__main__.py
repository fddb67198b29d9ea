"""A page to try a trained model on: ``python -m electra_jax.demo --checkpoint=FOLDER``.

It shows which tokens of a sentence the discriminator doubts, what the generator writes for [MASK],
the answers of a fine-tuned model, and labels of one's own without training. It runs in the browser
of this machine and needs no network (extra `demo`).

Examples:
    python -m electra_jax.demo --checkpoint=runs/mine
    python -m electra_jax.demo --checkpoint=runs/reviews --port=8000
    python -m electra_jax.demo --checkpoint=huggingface:exported/
"""

from electra_jax.runtime import early

if __name__ == '__main__':
    early.begin(__file__)


from absl import flags

from electra_jax.core.errors import ConfigError
from electra_jax.demo import page
from electra_jax.runtime import cli

CHECKPOINT = cli.checkpoint_flag()
HOST = flags.DEFINE_string(
    'host', '127.0.0.1', 'the address that answers; 0.0.0.0: everybody who reaches this machine'
)
PORT = flags.DEFINE_integer('port', 7860, 'its port', lower_bound=1, upper_bound=65535)


def main() -> None:
    """Opens the checkpoint, and answers browsers until it is stopped."""
    if CHECKPOINT.value is None:
        raise ConfigError('no model is given: type --checkpoint=WORKDIR')
    page.serve(CHECKPOINT.value, HOST.value, PORT.value)


if __name__ == '__main__':
    cli.run_without_recipe(main)
