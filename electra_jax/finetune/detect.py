"""A pre-trained model as it is: how likely each token of a text was replaced."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import split as splits
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import FeatureSettings
from electra_jax.finetune.program import Answerer, to_answer
from electra_jax.finetune.readers import Known, Loaded
from electra_jax.init_from import check_complete, checked_start
from electra_jax.model import bind
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import step

# Objectives whose 'discriminator_head' says something else (Electric's energies), or stands on
# another network (TEAMS' detector).
_OTHER_HEADS = ('electric', 'teams')


class Detector(NamedTuple):
    """A pre-trained discriminator on the devices.

    Attributes:
      params: on the mesh.
      task: none.
      tokenizer: its own.
      config: for the devices of now; longer texts are cut to its row length.
      answerer: its functions.
    """

    params: trees.Tree
    task: None
    tokenizer: Tokenizer
    config: Config
    answerer: Answerer

    def answer(self, examples: Sequence[TextExample], bad: BadRows) -> Iterator[dict[str, Any]]:
        """For each text its tokens, and of each the probability that it was replaced.

        Args:
            examples: new text.
            bad: those that are too long for a row are counted here.
        """
        loaded = Loaded(list(examples), Known(), bad, '')
        row_length = self.config.data.row_length
        settings = FeatureSettings('classification', row_length, labelled=False)
        split = splits.make_split(self.config, self.tokenizer, settings, loaded)
        found = self.answerer.outputs(self.params, split)
        for row, (example, output) in enumerate(zip(examples, found, strict=True)):
            ids = split.rows.tokens[row]
            chances = output['replaced'][1 : len(ids) - 1]
            yield {
                'id': example.id,
                'tokens': self.tokenizer.tokens(ids[1:-1]),
                'replaced': [float(f'{p:.6g}') for p in np.asarray(chances, np.float64)],
            }


def open_detector(
    where: epath.Path, params: trees.Tree, about: Mapping[str, Any], settings: Settings
) -> Detector:
    """A pre-trained checkpoint with the function to use it.

    Args:
        where: it was read from.
        params: NumPy arrays.
        about: what it says of itself.
        settings: its mesh and batch size are used.

    Raises:
        CheckpointError: its head, if it has one, does not say that.
        ConfigError: the batch does not fit the devices.
    """
    start = checked_start(settings, str(where), params, about)
    objective = about['config']['objective']['name']
    if 'discriminator_head' not in params or objective in _OTHER_HEADS:
        raise CheckpointError(
            f'{where} was pre-trained as {objective!r}, without a head that says of each token how '
            'likely it was replaced, so there is nothing that it could answer: fine-tune it first '
            '(configs/finetune/)'
        )
    mesh = meshes.make_mesh(settings.mesh)
    config = resolve(settings, mesh.devices.flat[0].platform, start.stored)
    data = dataclasses.replace(config.data, row_length=config.model.max_positions)
    config = dataclasses.replace(config, data=data)
    meshes.check_batch(config, mesh, jax.process_count())
    model = to_answer(config.model)
    size, parts = start.tokenizer.vocab_size, ('discriminator',)
    check_complete(str(where), params, lambda key: bind.init(model, size, key, parts))
    needed = ('embeddings', 'embedding_delta', 'discriminator', 'discriminator_head')
    params = {name: part for name, part in params.items() if name in needed}
    placed = jax.device_put(params, rules.state_shardings(params, mesh))

    def replaced(params: trees.Tree, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        logits = bind.discriminate(model, start.tokenizer.vocab_size, params, batch, None)
        return {'replaced': jax.nn.sigmoid(logits)}

    answers = jax.jit(step.on_mesh(replaced, mesh), out_shardings=rules.replicated(mesh))
    answerer = Answerer(mesh, config.batch_size, answers)
    return Detector(placed, None, start.tokenizer, config, answerer)
