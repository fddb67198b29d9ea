"""Every setting of a run: its type, its default, the values it may take, and what it means.

A recipe (`configs/*.py`) and the command line name only what differs from these defaults.
`resolve.resolve` makes these frozen dataclasses from them. A field whose default is UNSET may be
left out as well: it is then resolved from something else, as the comment explains, so that every
run has a value. None means that the feature is off, or what the comment explains.
"""

import dataclasses

from electra_jax.config.fields import UNSET, setting
from electra_jax.config.task_settings import TaskConfig

VOCAB_SIZE = 30522  # of a vocabulary that is trained, as BERT's and ELECTRA's
GENERATOR_KINDS = ('separate', 'tied', 'two_tower', 'uniform', 'unigram')
# Fields of `ModelConfig` about how to compute; what is best depends on the devices of the run.
LEFT_TO_DEVICES = ('attention', 'compute_dtype', 'scan_unroll', 'flat_products', 'vocab_chunks')

_MOST = 1_000_000  # no layer is wider than this, and no stack deeper
_MAX_SEED = 2**32 - 1
_POSITIVE = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Generator and discriminator (ELECTRA section 3.2 and Table 6).

    A recipe names a `size`; fields that are left unset take the value of that size.
    """

    # tiny, small, base, small_plus, large, xlarge or xxlarge.
    size: str = setting('small')
    num_layers: int = setting(UNSET, at_least=1, at_most=_MOST)  # N, of the discriminator
    hidden_size: int = setting(UNSET, at_least=1, at_most=_MOST)  # D, of the discriminator
    # F, of the discriminator; 4 D where the size has none.
    ffn_size: int = setting(UNSET, at_least=1, at_most=_MOST)
    # H, of the discriminator; D / 64 where the size has none.
    num_heads: int = setting(UNSET, at_least=1, at_most=_MOST)
    embedding_size: int = setting(UNSET, at_least=1, at_most=_MOST)  # E, shared by both networks
    # What proposes the replaced tokens; unset: what the objective needs. 'separate' (the paper): a
    # smaller masked language model of its own. 'tied': the discriminator's own encoder with a
    # softmax head (section 3.2). 'two_tower': a left-to-right and a right-to-left encoder, which
    # learn from every token (Electric, section 2.3). 'uniform': every token is as likely.
    # 'unigram': tokens are as likely as in the training text.
    generator: str = setting(UNSET, choices=GENERATOR_KINDS)
    # N of the generator as a fraction of the discriminator's.
    generator_layers: float = setting(UNSET, at_least=0.01, at_most=100)
    # D, F and H of the generator as a fraction of the discriminator's.
    generator_width: float = setting(UNSET, at_least=0.01, at_most=100)
    # 'shared' (the paper): both networks have one embedding block. 'untied': each its own.
    # 'disentangled': the discriminator adds a table of its own to the generator's, through which
    # its gradient does not flow (DeBERTaV3, section 3.3).
    embedding_sharing: str = setting('shared', choices=('shared', 'untied', 'disentangled'))
    # E of an untied generator; None: its hidden size.
    generator_embedding_size: int | None = setting(None, at_least=1, at_most=_MOST)
    # Rows of the learned position table; the longest row.
    max_positions: int = setting(UNSET, at_least=8, at_most=10_000_000)
    norm: str = setting(UNSET, choices=('post', 'pre'))  # 'post': BERT, the paper
    # The block of BERT and the paper is the default of each of these; see configs/modern_base.py.
    # 'rms': no mean is subtracted, one sum less (encoders, embeddings).
    norm_type: str = setting('layer', choices=('layer', 'rms'))
    biases: bool = setting(True)  # in the encoders' dense layers and norms; heads always have them
    # 'learned': a table, added to words. 'rotary': queries and keys are rotated.
    positions: str = setting('learned', choices=('learned', 'rotary'))
    rotary_base: float = setting(10_000.0, at_least=1)  # longest wavelength / 2 pi, in tokens
    local_rotary_base: float | None = setting(None, at_least=1)  # of local layers; None: the same
    # 'geglu': gelu(x U) * x W, so F should be 2/3 of what it was.
    feed_forward: str = setting('gelu', choices=('gelu', 'geglu'))
    # No norm before layer 0's attention, which reads what the embeddings' norm has just made.
    skip_first_norm: bool = setting(False)
    qk_norm: bool = setting(False)  # RMSNorm of each head's queries and keys
    fused_qkv: bool = setting(False)  # queries, keys and values as one matrix product
    # Tokens that local layers see on each side; None: no layer is local.
    local_window: int | None = setting(None, at_least=1)
    # With local_window: layers 0, n, 2 n, ... see their whole document; 0: no layer does.
    global_every: int = setting(3, at_least=0, at_most=_MOST)
    # On embeddings and on each sublayer's output.
    dropout: float = setting(UNSET, at_least=0, at_most=0.99)
    # On attention probabilities.
    attention_dropout: float = setting(UNSET, at_least=0, at_most=0.99)
    # Token types: segment a, segment b. 0: none, only [SEP] divides them.
    type_vocab_size: int = setting(2, at_least=0)
    # Pixels along a side of the image that stands before each text, cut into patches
    # (`model.images`); None: the model reads no images.
    image_size: int | None = setting(None, at_least=4, at_most=1024)
    image_patch: int = setting(8, at_least=1, at_most=256)  # pixels along a side of a patch
    discriminator_head_norm: bool = setting(False)  # LayerNorm after the GELU of its head
    layer_norm_epsilon: float = setting(1e-12, at_least=1e-15, at_most=1)
    init_stddev: float = setting(0.02, at_least=0, at_most=10)  # truncated normal, 2 deviations
    position_init: str = setting('normal', choices=('normal', 'sinusoidal'))  # of positions
    # 'hash': a cheap counter hash. 'threefry': JAX's generator.
    dropout_bits: str = setting('hash', choices=('hash', 'threefry'))
    # What the backward pass computes again instead of storing it, which takes less memory: 'none',
    # 'attention' (scores and probabilities), 'feed_forward' (arrays of width F), 'both' of them,
    # 'dots' (all but the products with parameters), 'full' (all but each layer's input).
    remat: str = setting(
        'none', choices=('none', 'attention', 'feed_forward', 'both', 'dots', 'full')
    )
    vocab_multiple: int = setting(128, at_least=1, at_most=_MOST)  # V is padded to a multiple of it
    # Where unset, these five suit the devices of the run (`resolve._for_devices`).
    # 'xla' (the formula as it stands), 'splash' or 'mosaic' (TPU), 'cudnn', 'triton' or
    # 'cudnn_mask' (GPU): all but the first keep no scores. 'xla' and 'mosaic' have attention
    # dropout, by the same bits. `config.kernels` has what each cannot do.
    attention: str = setting(
        UNSET, choices=('xla', 'splash', 'mosaic', 'cudnn', 'triton', 'cudnn_mask')
    )
    # 'bfloat16' on TPU and GPU, 'float32' on CPU.
    compute_dtype: str = setting(UNSET, choices=('float32', 'bfloat16'))
    # Layers per iteration of the scan: 1; at most 12 to pre-train on GPU; all of them on CPU.
    scan_unroll: int = setting(UNSET, at_least=1)
    # Chunks in which the vocabulary softmax is computed: 8; 1 on CPU.
    vocab_chunks: int = setting(UNSET, at_least=1, at_most=128)
    flat_products: bool = setting(UNSET)  # matrix products on [B L, D], not [B, L, D]: on CPU


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What is optimized (ELECTRA section 2, equations 1 to 4)."""

    # electra, electra_masked, mlm, replaced_mlm, all_tokens_mlm, electric, teams or two_stage.
    name: str = setting('electra')
    # Share of a row's real tokens that is masked at the start of the run.
    mask_rate: float = setting(0.15, at_least=0.01, at_most=0.99)
    # Share that is masked at the end, reached linearly; None: `mask_rate` throughout.
    mask_rate_end: float | None = setting(None, at_least=0.01, at_most=0.99)
    # Share of total_steps after which mask_rate_end holds.
    mask_rate_decay: float = setting(1.0, at_least=0.001, at_most=1)
    # Which tokens: 'uniform' (BERT, ELECTRA): each as likely. 'rarity': in proportion to 1 / the
    # token's frequency in the text. 'loss': to the generator's running loss at that token. 'words':
    # whole words. Held-out text is always masked uniformly.
    masks: str = setting('uniform')
    # Power of the weights by which 'rarity' and 'loss' mask; None: 0.5 of rarity, 1 of the loss.
    mask_power: float | None = setting(None, at_least=0, at_most=10)
    # 'distinct' (the paper): ceil(rate n) different positions. 'reference': round(rate n) draws
    # with replacement; one drawn twice counts twice in the loss and gets the integer mean of its
    # two samples, an arbitrary token (electra, pretrain_helpers.py): a slip.
    positions: str = setting('distinct', choices=('distinct', 'reference'))
    generator_weight: float = setting(1.0, at_least=0)
    discriminator_weight: float = setting(50.0, at_least=0)
    # 'gumbel': noise for every token. 'blocks': the same distribution, cheaper.
    sampler: str = setting('blocks', choices=('gumbel', 'blocks'))
    # Share of masked positions that keep their token in the generator's input. The reference has
    # 0.15, which the paper does not mention.
    keep_rate: float = setting(0.0, at_least=0, at_most=1)
    disallow_correct: bool = setting(False)  # a sample is never the original token
    # Temperature of the generator's samples at the start of the run.
    temperature: float = setting(1.0, at_least=0.01)
    # Temperature at the end; None: the same throughout.
    temperature_end: float | None = setting(None, at_least=0.01)
    # How the temperature falls: after temperature_decay 'linear' has temperature_end, and
    # 'exponential' has 1 / e of the distance left.
    temperature_shape: str = setting('linear', choices=('linear', 'exponential'))
    # Share of total_steps, for temperature_shape.
    temperature_decay: float = setting(0.6, at_least=0.001, at_most=1)
    # Train the discriminator alone (Fast-ELECTRA): weight decay does not move the generator either.
    freeze_generator: bool = setting(False)
    # 'two_stage': length of stage 1; None: half the run.
    generator_steps: int | None = setting(None, at_least=1)
    # 'two_stage': length of stage 1 as a share of the run, which `minutes` and its like need.
    generator_share: float | None = setting(None, at_least=0.001, at_most=0.999)
    # 'teams': words to select from, the original included.
    num_candidates: int = setting(5, at_least=2, at_most=1000)
    selection_weight: float = setting(20.0, at_least=0)  # 'teams': weight of the selection's loss


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Which tokenizer a missing corpus is built with; a finished corpus has its own."""

    # 'wordpiece', SentencePiece's 'unigram' and 'bpe', or
    # 'characters', for DNA, proteins and SMILES.
    kind: str = setting('wordpiece')
    path: str | None = setting(None)  # vocab.txt or .model to use; None: train one on the corpus
    # Pieces of a tokenizer that is trained (None: 30,522); one that is named must have so many,
    # unless its path is typed and the size stands in the recipe.
    vocab_size: int | None = setting(None, at_least=16)
    # None: true, but for 'characters'; a named .model is left as it is.
    lower_case: bool | None = setting(None)
    strip_accents: bool | None = setting(None)  # None: as lower_case, which is what BERT does
    train_megabytes: int = setting(64, at_least=1)  # of text to train a new one on, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where rows come from, and how text becomes rows."""

    path: str | None = setting(None)  # folder of shards; several as 'a=0.7,b=0.3', with weights
    source: str | None = setting(None)  # text to build a missing `path` from
    row_length: int = setting(UNSET, at_least=8)  # L; where unset 128, or as the task has it
    # 'segments': [CLS] a [SEP] b [SEP]. 'packed': many documents.
    layout: str = setting('segments', choices=('segments', 'packed'))
    # Of a corpus of images: pixels along a side; None: as model.image_size.
    image_size: int | None = setting(None, at_least=4, at_most=1024)
    # Share of the documents for evaluation; None: 0.005, or 0 with validation_source.
    holdout: float | None = setting(None, at_least=0, at_most=0.5)
    validation_source: str | None = setting(None)  # text for evaluation alone, written as `source`
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    # 'segments': the chance that segment a may take the whole row.
    one_segment_rate: float = setting(0.1, at_least=0, at_most=1)
    # 'segments': the chance that a row aims for a random shorter length.
    short_row_rate: float = setting(0.05, at_least=0, at_most=1)
    build_seed: int = setting(0, at_least=0, at_most=_MAX_SEED)  # of the corpus builder's draws
    # Text in one piece of work, which becomes one shard, about; a builder's memory grows with it.
    piece_megabytes: int = setting(16, at_least=1, at_most=1024)
    # What ends a document of plain text: a blank line, each line, or the end of its file alone.
    document_ends: str = setting('blank_line', choices=('blank_line', 'line', 'file'))
    # Torn files and JSON lines: 'error' ends the build, 'skip' leaves them out and counts them.
    on_bad_text: str = setting('error', choices=('error', 'skip'))
    # Bad rows of a task: 'error' ends the run, 'skip' leaves them out and counts them.
    on_bad_row: str = setting('error', choices=('error', 'skip'))
    # What builds shards: 'local' (processes here) or 'beam' (extra 'beam').
    runner: str = setting('local', choices=('local', 'beam'))
    # Beam's options, such as
    # '--runner=DaskRunner --dask_client_address=tcp://HOST:8786' (extra 'dask').
    runner_options: str | None = setting(None)
    workers: int | None = setting(None, at_least=1)  # processes of 'local'; None: one per core
    prefetch: int = setting(4, at_least=1)  # batches read ahead of the step
    # Shards that are compared with their hashes before anything is computed: 'full': all; 'quick':
    # at least 1 GiB, and more if it takes less than 30 seconds; other shards at each start. Sizes
    # and row counts are always checked.
    verify: str = setting('quick', choices=('quick', 'full'))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW of the reference, clipped by global norm (electra, optimization.py)."""

    # Where unset, this, weight_decay and layer_decay are 5e-4, 0.01 and 1 to pre-train; fine-tuning
    # chooses them as those of `TaskConfig`.
    learning_rate: float = setting(UNSET, at_least=0)
    warmup_steps: int = setting(10_000, at_least=0)  # multiplies the decay; step 0 has rate 0
    # Share of total_steps; takes the place of warmup_steps.
    warmup_share: float | None = setting(None, at_least=0, at_most=1)
    decay_power: float = setting(1.0, at_least=0)  # (1 - step / total_steps) ** decay_power
    # The last steps, over which the rate decays; it is constant between the warm-up and them
    # (warm-up, stable, decay: Hu et al. 2024, section 4). None: it decays over the whole run.
    decay_steps: int | None = setting(None, at_least=1)
    # Share of total_steps; takes the place of decay_steps.
    decay_share: float | None = setting(None, at_least=0.001, at_most=1)
    b1: float = setting(0.9, at_least=0, at_most=0.999999)
    b2: float = setting(0.999, at_least=0, at_most=0.999999)
    epsilon: float = setting(1e-6, at_least=0)
    weight_decay: float = setting(UNSET, at_least=0)
    bias_correction: bool = setting(False)  # Adam's; the reference has none
    clip_norm: float = setting(1.0, at_least=_POSITIVE)
    # The reference on a TPU takes the mean loss of each core's rows, clips each core's gradient
    # and adds them up: give the number of cores to follow it. 1: one mean, one clip, which does
    # not change with the hardware.
    clip_replicas: int = setting(1, at_least=1)
    # Gradient accumulation: a batch in this many pieces; 1 with clip_replicas, which are pieces.
    microbatches: int = setting(1, at_least=1)
    # Rate of layer i of N: learning_rate * layer_decay ** (N - i), heads 0, embeddings N + 1.
    layer_decay: float = setting(UNSET, at_least=0.01, at_most=1)
    # The reference has one power more everywhere but in heads: it counts a pooler that is gone.
    layer_decay_off_by_one: bool = setting(False)
    # What the matrices of layers learn by; all else is AdamW's. 'muon': orthogonalized momentum
    # (`optim.muon`), whose updates are as large as Adam's usual ones: its rate is a good start.
    matrices: str = setting('adamw', choices=('adamw', 'muon'))
    muon_momentum: float = setting(0.95, at_least=0, at_most=0.9999)
    # A running mean of the parameters, of which this share is kept at each step (0.999: about the
    # last thousand steps count). It is saved next to them. None: no mean.
    average_decay: float | None = setting(None, at_least=0, at_most=0.999999)
    # Each network has its own clipping and learning rate.
    separate: bool = setting(False)
    # The generator's own, with `separate`; None: learning_rate.
    generator_learning_rate: float | None = setting(None, at_least=0)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When the whole training state goes to disk."""

    # Also at the end, at a stop signal and (one process) when data cannot be read.
    every_steps: int = setting(1000, at_least=1)
    keep: int = setting(5, at_least=1)
    # Words read, with commas, as '1e6,2e6,10e6': the first step that has read so many is saved,
    # too, and that checkpoint is never deleted, whatever `keep` is. None: no such checkpoints.
    keep_at_words: str | None = setting(None)
    # If a checkpoint cannot be saved (a full disk, for example): 'retry' reports it, continues, and
    # saves the next one when it is due; 'stop' ends the run. The last checkpoint (tried three
    # times), and any checkpoint of a run with several processes, always ends it.
    on_error: str = setting('retry', choices=('retry', 'stop'))


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Evaluation on held-out text while training."""

    every_steps: int = setting(1000, at_least=1)
    rows: int = setting(2048, at_least=1)  # held-out rows that are evaluated each time, at most
    average: bool = setting(False)  # the running mean of the parameters in place of the parameters


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices each mesh axis spans; one may be -1: the rest of them."""

    data: int = setting(-1, at_least=-1)
    fsdp: int = setting(1, at_least=-1)
    tensor: int = setting(1, at_least=-1)
    sequence: int = setting(1, at_least=-1)


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What is written down, and how often."""

    every_steps: int = setting(50, at_least=1)
    # Programs that get the metrics, too, with commas: tensorboard, trackio, wandb. '': none.
    trackers: str = setting('tensorboard')
    report: bool = setting(True)  # a page about the run, report.html, written at its end
    # File of curves that are normal for the recipe, which the page draws; made by --save_reference
    # of electra_jax.report.
    reference: str | None = setting(None)
    profile_start: int | None = setting(None, at_least=0)  # of a profiler's trace; None: no trace
    profile_steps: int = setting(5, at_least=1)


@dataclasses.dataclass(frozen=True)
class HealthConfig:
    """What is done about steps that go wrong, and when a run counts as hanging."""

    # A step is bad if its loss, gradient or update is not finite, or larger than allowed here.
    # 'stop': the run ends. 'skip': the step's update is not applied; the data go on.
    on_bad_step: str = setting('stop', choices=('stop', 'skip'))
    max_skips: int = setting(10, at_least=0)  # bad steps in a row that are skipped before it ends
    max_loss: float | None = setting(None, at_least=_POSITIVE)
    max_grad_norm: float | None = setting(None, at_least=_POSITIVE)  # before clipping
    max_update_norm: float | None = setting(None, at_least=_POSITIVE)
    # Report a loss that is more than this many robust deviations (1.48 times the median absolute
    # deviation) above the median of the last spike_window steps; None: off.
    spike_deviations: float | None = setting(10.0, at_least=1)
    spike_window: int = setting(200, at_least=10)
    step_timeout: float | None = setting(1800.0, at_least=1)  # seconds; None: no timeout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run."""

    job: str = setting('pretrain', choices=('pretrain', 'finetune', 'evaluate'))
    seed: int = setting(0, at_least=0, at_most=_MAX_SEED)
    total_steps: int = setting(1_000_000, at_least=1)  # fine-tuning counts in task.epochs
    # Pre-train for about so many minutes on these devices: total_steps follows from the speed, and
    # is corrected by the speed of the run, and schedules follow it; compiling and evaluations are
    # part of the minutes, the corpus is not. None: total_steps decides.
    minutes: float | None = setting(None, at_least=0.1, at_most=1_000_000)
    # Pre-train with so many operations (10^15 of them), matrix products alone, forward and backward
    # (`model.flops`, 'mfu'), as steps compute them: total_steps follows, so that models of any kind
    # cost the same.
    petaflop: float | None = setting(None, at_least=1e-9, at_most=1e15)
    # Pre-train until so many words of the text are read at most, those that are read again counted
    # again: total_steps follows from how many a row of the corpus holds. Words stand between white
    # space.
    words: float | None = setting(None, at_least=1, at_most=1e15)
    # How often a corpus may be read: a longer pre-training is refused where its length is
    # total_steps, petaflop, or words that are typed, and is made shorter where it is minutes or the
    # words of a recipe. None: no cap.
    max_exposures: float | None = setting(None, at_least=0.001, at_most=1e9)
    # End here with a checkpoint; schedules still follow total_steps.
    stop_at: int | None = setting(None, at_least=1)
    # What parameters start from: a workdir of ours (its newest checkpoint at the first start), the
    # folder of one step, 'google:PATH' or 'huggingface:PATH'; None: from nothing.
    init_from: str | None = setting(None)
    # What is loaded of it; 'none': its model and tokenizer with fresh parameters, to compare with.
    # Fine-tuning needs the discriminator.
    init_network: str = setting('both', choices=('both', 'generator', 'discriminator', 'none'))
    # Begin with the whole state of another run, as it was before its decay: a workdir (its newest
    # checkpoint at the first start) or the folder of one step. Settings must be that run's, but for
    # the length and the decay: so one run has branches of many lengths.
    branch_from: str | None = setting(None)
    # Positions that the checkpoint lacks.
    init_positions: str = setting('fresh', choices=('fresh', 'repeat', 'interpolate'))
    # Where compiled programs are kept for the next start: a folder, also gs://, or 'off'. None:
    # ~/.cache/electra_jax/compiled, or what the variable JAX_COMPILATION_CACHE_DIR names.
    compilation_cache: str | None = setting(None)
    remark: str | None = setting(None)  # of a recipe about itself, printed at the start
    replay: str | None = setting(None)  # a dump of a bad step, to compute that step again
    batch_size: int = setting(UNSET, at_least=1)  # global, rows; unset: 128, of tasks 32
    model: ModelConfig
    objective: ObjectiveConfig
    data: DataConfig
    optimizer: OptimizerConfig
    checkpoint: CheckpointConfig
    eval: EvalConfig
    mesh: MeshConfig
    health: HealthConfig
    log: LogConfig
    task: TaskConfig
    trials: int = setting(1, at_least=1)  # fine-tuning runs, of seeds seed, seed + 1, ...
