"""The settings of a pre-training run of the reference, and the variables that follow from it.

Field names are the reference's own; every default is its default, but for the sizes.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run. The sizes are small because the arithmetic is float64 on one core."""

    # The main network; the feed-forward width is 4 x hidden_size.
    num_hidden_layers: int = 2
    hidden_size: int = 12
    embedding_size: int = 12
    head_size: int = 4  # the reference's is 64: heads = max(1, hidden_size // head_size)
    vocab_size: int = 23
    max_position_embeddings: int = 12
    type_vocab_size: int = 2
    # The generator's size, as fractions of the main network's.
    generator_layers: float = 1.0
    generator_hidden_size: float = 0.25
    # What is learned. With both objectives off it is masked language modelling.
    electra_objective: bool = True
    electric_objective: bool = False
    untied_generator: bool = True  # False: generator and discriminator are one network
    untied_generator_embeddings: bool = False
    uniform_generator: bool = False
    two_tower_generator: bool = False
    disallow_correct: bool = False
    temperature: float = 1.0
    gen_weight: float = 1.0
    disc_weight: float = 50.0
    mask_prob: float = 0.15
    # Ids that are never masked; [PAD] is known by input_mask alone.
    cls_id: int = 2
    sep_id: int = 3
    mask_id: int = 4
    # The optimizer.
    learning_rate: float = 5e-4
    lr_decay_power: float = 1.0
    num_train_steps: int = 100
    num_warmup_steps: int = 10
    weight_decay_rate: float = 0.01
    replicas: int = 1  # the batch is cut into so many, each with a loss and a clip of its own

    def __post_init__(self):
        two_towers = self.two_tower_generator or self.electric_objective
        if two_towers and (not self.untied_generator or self.uniform_generator):
            raise ValueError('two towers are a generator of their own, neither tied nor uniform')
        if self.untied_generator_embeddings and self.generator != 'separate':
            raise ValueError('only a separate generator has embeddings of its own')

    @property
    def generator(self) -> str:
        """'itself' (masked language modelling), 'uniform', 'two_tower', 'separate' or 'tied'."""
        if not (self.electra_objective or self.electric_objective):
            return 'itself'
        if self.uniform_generator:
            return 'uniform'
        if self.two_tower_generator or self.electric_objective:
            return 'two_tower'
        return 'separate' if self.untied_generator else 'tied'

    @property
    def generator_scope(self) -> str:
        """Where a generator with one tower keeps its encoder."""
        return 'generator' if self.generator == 'separate' else 'electra'

    @property
    def embeddings_scope(self) -> str:
        """Where the generator finds its tables."""
        return 'generator' if self.untied_generator_embeddings else 'electra'

    def network(self, scope: str) -> tuple[int, int, int]:
        """(layers, width, heads) of the encoder under `scope`."""
        layers, width = self.num_hidden_layers, self.hidden_size
        if scope.startswith('generator'):
            layers = round(layers * self.generator_layers)
            width = round(width * self.generator_hidden_size)
        return layers, width, max(1, width // self.head_size)


def variable_shapes(settings: Settings) -> dict[str, tuple[int, ...]]:
    """Every variable of a run by its TensorFlow name; the vocabulary is not padded."""
    main, own = settings.embedding_size, settings.network('generator')[1]
    shapes = {**_embeddings(settings, 'electra', main), **_encoder(settings, 'electra', main)}
    width = settings.network(settings.generator_scope)[1]
    if settings.generator == 'separate':
        table = own if settings.untied_generator_embeddings else main
        if settings.untied_generator_embeddings:
            shapes |= _embeddings(settings, 'generator', own)
        shapes |= _encoder(settings, 'generator', table)
        shapes |= _token_head(settings, 'generator_predictions', width, table)
    if settings.generator in ('itself', 'tied'):
        shapes |= _token_head(settings, 'generator_predictions', width, main)
    if settings.generator == 'two_tower':
        shapes |= _encoder(settings, 'generator_ltr', main)
        shapes |= _encoder(settings, 'generator_rtl', main)
        shapes |= _token_head(settings, 'cloze_predictions', 2 * own, main)
    if settings.generator != 'itself':
        D = settings.hidden_size
        shapes |= _dense('discriminator_predictions/dense', D, D)
        shapes |= _dense('discriminator_predictions/dense_1', D, 1)
    return shapes


def _dense(scope: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f'{scope}/kernel': (inputs, outputs), f'{scope}/bias': (outputs,)}


def _layer_norm(scope: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{scope}/beta': (width,), f'{scope}/gamma': (width,)}


def _embeddings(settings: Settings, scope: str, width: int) -> dict[str, tuple[int, ...]]:
    inner = f'{scope}/embeddings'
    return {
        f'{inner}/word_embeddings': (settings.vocab_size, width),
        f'{inner}/token_type_embeddings': (settings.type_vocab_size, width),
        f'{inner}/position_embeddings': (settings.max_position_embeddings, width),
        **_layer_norm(f'{inner}/LayerNorm', width),
    }


def _encoder(settings: Settings, scope: str, table_width: int) -> dict[str, tuple[int, ...]]:
    layers, D, _ = settings.network(scope)
    shapes = {}
    if table_width != D:
        shapes |= _dense(f'{scope}/embeddings_project', table_width, D)
    for number in range(layers):
        inner = f'{scope}/encoder/layer_{number}'
        for name in ('query', 'key', 'value'):
            shapes |= _dense(f'{inner}/attention/self/{name}', D, D)
        shapes |= _dense(f'{inner}/attention/output/dense', D, D)
        shapes |= _layer_norm(f'{inner}/attention/output/LayerNorm', D)
        shapes |= _dense(f'{inner}/intermediate/dense', D, 4 * D)
        shapes |= _dense(f'{inner}/output/dense', 4 * D, D)
        shapes |= _layer_norm(f'{inner}/output/LayerNorm', D)
    return shapes


def _token_head(
    settings: Settings, scope: str, width: int, table_width: int
) -> dict[str, tuple[int, ...]]:
    return {
        **_dense(f'{scope}/dense', width, table_width),
        **_layer_norm(f'{scope}/LayerNorm', table_width),
        f'{scope}/output_bias': (settings.vocab_size,),
    }
