"""Every setting of a run, its type, its default and its meaning: the one place for all three.

A recipe (`configs/*.py`) and the command line name only what differs from these defaults. The
doors turn the result into these frozen dataclasses; nothing below the doors knows ConfigDict.
`None` means "off" or "worked out from something else", as the comment says.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Whose layers stand on the encoder in fine-tuning; `model.task_heads`.
HEAD_STYLES = ('reference', 'huggingface', 'mean')
# Fields of `ModelConfig` that say how to compute; None: what is best on the devices of the run.
LEFT_TO_DEVICES = ('attention', 'compute_dtype', 'scan_unroll', 'flat_products', 'vocab_chunks')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Generator and discriminator (ELECTRA section 3.2 and Table 6).

    In a recipe only `size` must be given: each other field left at None takes that size's value
    from `config/resolve.py`.
    """

    size: str = 'small'  # a key of resolve.MODEL_SIZES
    num_layers: int | None = None  # N, of the discriminator
    hidden_size: int | None = None  # D, of the discriminator
    ffn_size: int | None = None  # F; 4 D where a size does not say
    num_heads: int | None = None  # H; D / 64 where a size does not say
    embedding_size: int | None = None  # E, shared by both networks
    generator: str | None = None  # a key of resolve.GENERATORS; None: what the objective needs
    generator_layers: float | None = None  # generator's N as a fraction of the discriminator's
    generator_width: float | None = None  # generator's D, F, H as a fraction of the discriminator's
    # 'shared' (the paper): both networks have one embedding block. 'untied': each its own.
    # 'disentangled': the discriminator adds a table of its own to the generator's, through which
    # its gradient does not flow (DeBERTaV3, section 3.3).
    embedding_sharing: str = 'shared'
    generator_embedding_size: int | None = None  # E of an untied generator; None: its hidden size
    max_positions: int | None = None  # rows of the learned position table; the longest row
    norm: str | None = None  # 'post' (BERT, the paper) or 'pre'
    # The block of BERT and the paper is the default of each of these; see configs/modern_base.py.
    norm_type: str = 'layer'  # or 'rms': no mean is taken away, one sum less (encoders, embeddings)
    biases: bool = True  # in the encoders' dense layers and norms; heads always have them
    positions: str = 'learned'  # a table, added to words; or 'rotary': queries and keys are turned
    rotary_base: float = 10_000.0  # longest wavelength / 2 pi, in tokens
    feed_forward: str = 'gelu'  # or 'geglu': gelu(x U) * x W, so F should be 2/3 of what it was
    qk_norm: bool = False  # RMSNorm of each head's queries and keys
    fused_qkv: bool = False  # queries, keys and values as one matrix product
    local_window: int | None = (
        None  # tokens seen on each side in local layers; None: no such layers
    )
    # With local_window: layers 0, n, 2 n, ... see their whole document; 0: no layer does.
    global_every: int = 3
    dropout: float | None = None  # on embeddings and on each sublayer's output
    attention_dropout: float | None = None  # on attention probabilities
    type_vocab_size: int = 2  # token types: segment a, segment b
    layer_norm_epsilon: float = 1e-12
    init_stddev: float = 0.02  # truncated normal at two deviations
    position_init: str = 'normal'  # of the learned position table: 'normal' or 'sinusoidal'
    dropout_bits: str = 'hash'  # 'hash' (cheap counter hash) or 'threefry' (JAX's generator)
    # What the backward pass computes again instead of keeping it, the more the less memory: 'none',
    # 'attention' (scores and probabilities), 'feed_forward' (arrays of width F), 'both' of them,
    # 'dots' (all but the products with parameters), 'full' (all but each layer's input).
    remat: str = 'none'
    vocab_multiple: int = 128  # the vocabulary is padded to a multiple of this
    # Left at None, these five suit the devices of the run (`config.platform`).
    # 'xla' (the formula as it stands; alone has attention dropout), 'splash' (TPU), 'cudnn' or
    # 'triton' (GPU): the last three keep no scores. See `config.kernels` for what each cannot do.
    attention: str | None = None
    compute_dtype: str | None = None  # 'bfloat16' on TPU and GPU, 'float32' on CPU
    # Layers per iteration of the scan: 1; at most 12 to pre-train on GPU; all of them on CPU.
    scan_unroll: int | None = None
    vocab_chunks: int | None = (
        None  # parts in which the vocabulary softmax is computed: 8; 1 on CPU
    )
    flat_products: bool | None = None  # matrix products on [B L, D], not [B, L, D]: on CPU


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What is optimized (ELECTRA section 2, equations 1 to 4)."""

    name: str = 'electra'  # a key of objectives.table.OBJECTIVES
    mask_rate: float = 0.15  # share of a row's real tokens that is masked, at the start
    mask_rate_end: float | None = None  # reached linearly; None: `mask_rate` throughout
    mask_rate_decay: float = 1.0  # share of total_steps after which mask_rate_end holds
    # 'distinct' (the paper): ceil(rate n) different positions. 'reference': round(rate n) draws
    # with replacement. A position drawn twice then counts twice in the loss and is given the
    # integer mean of its two samples, an arbitrary token (electra, pretrain_helpers.py): a slip.
    positions: str = 'distinct'
    generator_weight: float = 1.0
    discriminator_weight: float = 50.0
    sampler: str = 'blocks'  # 'gumbel' (noise for every token) or 'blocks' (same law, cheaper)
    # Share of masked positions that keep their token in the generator's input. The reference has
    # 0.15, of which the paper says nothing.
    keep_rate: float = 0.0
    disallow_correct: bool = False  # a sample is never the original token
    temperature: float = 1.0  # of the generator's samples, at the start of the run
    temperature_end: float | None = None  # reached linearly; None: `temperature` throughout
    temperature_shape: str = 'linear'  # or 'exponential': the rest shrinks e-fold per decay
    temperature_decay: float = 0.6  # share of total_steps: when linear ends, or the e-fold
    freeze_generator: bool = False  # train the discriminator alone (Fast-ELECTRA)
    generator_steps: int | None = None  # 'two_stage': length of stage 1; None: half the run
    num_candidates: int = 5  # 'teams': words to select from, the original included
    selection_weight: float = 20.0  # 'teams'


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Which tokenizer a corpus is built with; read by `prepare` only."""

    kind: str = 'wordpiece'  # 'wordpiece', 'unigram' or 'bpe' (the last two: SentencePiece)
    path: str | None = None  # vocab.txt or .model to use; None: train one on the corpus
    vocab_size: int = 30522  # of a tokenizer that is trained
    lower_case: bool = True
    strip_accents: bool | None = None  # None: as lower_case, which is what BERT does
    train_megabytes: int = 64  # text that a new tokenizer is trained on, at most


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where rows come from, and how text becomes rows."""

    path: str | None = None  # folder of shards; several as 'a=0.7,b=0.3' (weights of rows)
    source: str | None = (
        None  # text to build `path` from where it is missing; see corpus/sources.py
    )
    row_length: int | None = None  # L; None: 128, or as the task has it
    layout: str = 'segments'  # 'segments' ([CLS] a [SEP] b [SEP]) or 'packed' (many documents)
    holdout: float = 0.005  # share of documents kept for evaluation
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    one_segment_rate: float = 0.1  # 'segments': chance that segment a may take the whole row
    short_row_rate: float = 0.05  # 'segments': chance that a row aims for a random shorter length
    build_seed: int = 0  # of the corpus builder's own draws
    on_bad_text: str = 'error'  # torn files and JSON lines: 'error', or 'skip' and count them
    on_bad_row: str = 'error'  # rows of a task that cannot be used: likewise
    runner: str = 'local'  # what builds shards: 'local' (processes here) or 'beam' (extra 'beam')
    runner_options: str | None = None  # of Beam: '--runner=FlinkRunner --flink_master=HOST:8081'
    workers: int | None = None  # builder processes of 'local'; None: one per core
    prefetch: int = 4  # batches read ahead of the step
    # Shards are compared with their hashes before anything is computed: 'full': all of them;
    # 'quick': 1 GiB and then as many as half a minute allows, others each time. Presence, sizes
    # and row counts are always checked.
    verify: str = 'quick'


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW of the reference, clipped by global norm (electra, optimization.py)."""

    learning_rate: float = 5e-4
    warmup_steps: int = 10_000  # multiplies the decay; step 0 has rate 0
    decay_power: float = 1.0  # (1 - step / total_steps) ** decay_power
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    bias_correction: bool = False  # Adam's; the reference has none
    clip_norm: float = 1.0
    # The reference on a TPU takes the mean loss of each core's rows, clips each core's gradient
    # and adds them up: give the number of cores to follow it. 1: one mean, one clip, which does
    # not change with the hardware.
    clip_replicas: int = 1
    microbatches: int = 1  # gradient accumulation: the batch in this many parts
    # Rate of layer i of N: learning_rate * layer_decay ** (N - i), heads 0, embeddings N + 1.
    layer_decay: float = 1.0
    # The reference has one power more everywhere but in heads: it counts a pooler that is gone.
    layer_decay_off_by_one: bool = False
    separate: bool = False  # each network has its own clipping and learning rate
    generator_learning_rate: float | None = None  # with `separate`; None: learning_rate


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When the whole training state goes to disk."""

    every_steps: int = 1000
    keep: int = 5
    # Where one cannot be saved (a full disk): 'retry' says so and trains on to the next; 'stop'
    # ends the run. The last one of a run, and those of several processes, always end it.
    on_error: str = 'retry'


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Evaluation on held-out text while training."""

    every_steps: int = 1000
    rows: int = 2048  # held-out rows looked at each time, at most


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices each mesh axis spans; one may be -1: the rest of them."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    sequence: int = 1


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What is written down, and how often."""

    every_steps: int = 50
    tensorboard: bool = True
    profile_start: int | None = None  # first step of a profiler trace; None: no trace
    profile_steps: int = 5


@dataclasses.dataclass(frozen=True)
class HealthConfig:
    """What is done about steps that go wrong, and when a run counts as hanging."""

    # A step is bad if its loss, gradient or update is not finite, or larger than allowed here.
    # 'stop': the run ends. 'skip': the step's update is not applied; the data go on.
    on_bad_step: str = 'stop'
    max_skips: int = 10  # bad steps in a row that are skipped before the run ends
    max_loss: float | None = None
    max_grad_norm: float | None = None  # before clipping
    max_update_norm: float | None = None
    # A loss so many typical deviations above the median of the last steps is reported (1.48 times
    # the median absolute deviation is one deviation of a normal law); None: not looked for.
    spike_deviations: float | None = 10.0
    spike_window: int = 200  # steps
    step_timeout: float | None = 1800.0  # seconds without a step that end the run; None: never


@dataclasses.dataclass(frozen=True)
class ColumnsConfig:
    """Names of columns or JSON fields of a task's files, or their numbers from 0 in a table
    without a header; None: as the task has them.
    """

    text_a: str | None = None  # the text, or the first of a pair
    text_b: str | None = None  # the second
    label: str | None = None  # a class or a score
    id: str | None = None  # of the row
    words: str | None = None  # of a sentence: a list, or text with spaces
    tags: str | None = None  # as many
    context: str | None = None  # the text of a question
    question: str | None = None
    answers: str | None = None


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Fine-tuning: which task, how its files are read, its head, and how long."""

    name: str | None = None  # a key of tasks.table.TASKS; None: no fine-tuning
    train_file: str | None = None  # below data.path; None: as the task's folder is laid out
    dev_file: str | None = None
    dev_share: float | None = None  # of the train file's rows are scored, in place of a dev file
    test_file: str | None = None
    columns: ColumnsConfig = dataclasses.field(default_factory=ColumnsConfig)
    header: bool | None = None  # whether a table's first line names its columns; None: as the task
    separator: str | None = None  # between cells of a table; None: as the file's ending says
    labels: str | None = None  # 'a,b,c'; None: the task's own, or those of the train file, sorted
    scheme: str | None = None  # of tags: a key of tag_schemes.SCHEMES; None: as the task has it
    unanswerable: bool | None = None  # whether questions may have no answer; None: as the task
    double_pairs: bool | None = None  # train on (b, a) too; None: as the reference (MRPC, STS)
    # or 'huggingface', the layers of transformers' heads; or 'mean', a row from all its tokens
    head: str = 'reference'
    head_dropout: float = 0.1
    epochs: float | None = None  # None: as the task has it (the reference's: 3, 10 or 2)
    warmup_rate: float = 0.1  # share of all steps; takes the place of optimizer.warmup_steps
    # Losses added up over a batch, as in the reference, not their mean: gradients then grow with
    # the batch, and clipping alone decides how long they are.
    sum_loss: bool = False
    bucketing: bool = True  # rows of similar length together; False: all of data.row_length
    keep: str = 'last'  # each trial's state that counts: 'last' (as published figures) or 'best'
    predict_test: bool = False  # also predict the task's test files, and write submissions
    save: str = 'all'  # trials whose parameters go to disk: 'all', 'best' or 'none'
    cache: str | None = 'runs/features'  # folder of tokenized files; None: none are kept
    # Questions about texts. A text too long for a row becomes several rows, `stride` apart.
    question_length: int = 64  # pieces, at most
    stride: int = 128
    answer_length: int = 30  # pieces, at most
    n_best: int = 20  # answers weighed for each question
    beams: int = 20  # 'reference' head: starts, and ends for each, that are looked at
    answerable_weight: float = 0.5  # 'reference' head: of the loss of "is there an answer"
    null_threshold: float | None = None  # no answer above this score; None: as the task has it


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run."""

    job: str = 'pretrain'
    seed: int = 0
    total_steps: int = 1_000_000  # of pre-training; fine-tuning counts in task.epochs
    stop_at: int | None = None  # end here with a checkpoint; schedules still follow total_steps
    # What parameters start from: a workdir or checkpoint of ours, 'google:PATH' or
    # 'huggingface:PATH'; None: from nothing.
    init_from: str | None = None
    # What is taken of it: 'both' networks, 'generator', 'discriminator', or 'none': its model and
    # tokenizer with fresh parameters, to compare with. Fine-tuning needs the discriminator.
    init_network: str = 'both'
    init_positions: str = 'fresh'  # positions that the checkpoint lacks; a key of POSITION_RULES
    replay: str | None = None  # a dump of a bad step, to take that step again and look into it
    batch_size: int = 128  # global, rows
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    health: HealthConfig = dataclasses.field(default_factory=HealthConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    task: TaskConfig = dataclasses.field(default_factory=TaskConfig)
    trials: int = 1  # fine-tuning runs, of seeds seed, seed + 1, ...


def build(schema: type, tree: Mapping[str, Any]) -> Any:
    """A frozen config, or a group of its settings, from a mapping of all its fields.

    The reverse of `dataclasses.asdict`, of a config that went to another process as JSON.
    """
    values = {}
    for field in dataclasses.fields(schema):
        value = tree[field.name]
        group = dataclasses.is_dataclass(field.type)
        values[field.name] = build(field.type, value) if group else value
    return schema(**values)
