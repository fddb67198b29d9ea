"""Settings of fine-tuning: `config.task`. See `settings`."""

import dataclasses

from electra_jax.config.fields import UNSET, setting

# Whose layers stand on the encoder in fine-tuning: `model.task_heads`.
HEAD_STYLES = ('reference', 'huggingface', 'mean', 'prompt', 'modernbert', 'modernbert_cls')

_MOST = 1_000_000  # no layer is wider than this, and no stack deeper
_MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class ColumnsConfig:
    """Names of a task's columns or JSON fields, or numbers from 0; None: as the task has them."""

    text_a: str | None = setting(None)  # the text, or the first of a pair
    text_b: str | None = setting(None)  # the second
    label: str | None = setting(None)  # a class or a score
    id: str | None = setting(None)  # of the row
    words: str | None = setting(None)  # of a sentence: a list, or text with spaces
    tags: str | None = setting(None)  # one for each word
    # Of tables with a word a row: what is the same, or empty, in all rows of a sentence but its
    # first.
    sentence: str | None = setting(None)
    context: str | None = setting(None)  # the text of a question
    question: str | None = setting(None)
    answers: str | None = setting(None)
    # What is read and what is written: also the endings of parallel files, 'en' of train.en.
    source: str | None = setting(None)
    target: str | None = setting(None)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """What writes the answers of tasks that have a text for an answer, and how it learns."""

    # 'fresh'; or the layers of the checkpoint's discriminator ('encoder') or 'generator', whose
    # width the decoder then has. Attention to the encoder is always fresh.
    start: str = setting('fresh', choices=('fresh', 'encoder', 'generator'))
    # None: as many as the network that it is like has; fewer of that one's are spread evenly.
    layers: int | None = setting(None, at_least=1, at_most=_MOST)
    tied: bool = setting(True)  # reads and writes with the encoder's embeddings; False: its own
    # May also repeat words of the text that it reads, by a pointer (See et al. 2017, section 2.2).
    copies: bool = setting(False)
    target_length: int = setting(128, at_least=2, at_most=_MOST)  # pieces, the end included
    # Of training: longer targets are cut and counted, or refused as data.on_bad_row has it.
    long_targets: str = setting('cut', choices=('cut', 'refuse'))
    # Share of the probability that is spread over the vocabulary (Szegedy et al. 2016, section 7).
    label_smoothing: float = setting(0.1, at_least=0, at_most=0.9)


@dataclasses.dataclass(frozen=True)
class DecodingConfig:
    """How answers are found; None: as in training, which has the value in brackets."""

    method: str | None = setting(None, choices=('beam', 'greedy', 'nucleus'))  # ['beam']
    beams: int | None = setting(None, at_least=1, at_most=1000)  # [5]
    # Log-probabilities are divided by length ** this; the larger, the longer the answers [1].
    length_penalty: float | None = setting(None, at_least=0, at_most=10)
    no_repeat: int | None = setting(None, at_least=0, at_most=100)  # size of n-grams; 0: off [0]
    # Whether a row's search ends with as many finished answers as beams; False: when no other can
    # be better [true].
    early_stop: bool | None = setting(None)
    top_p: float | None = setting(None, at_least=0.01, at_most=1)  # of 'nucleus' [0.9]
    temperature: float | None = setting(None, at_least=0.01, at_most=100)  # of 'nucleus' [1]
    seed: int | None = setting(None, at_least=0, at_most=_MAX_SEED)  # of 'nucleus' [0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Fine-tuning: which task, how its files are read, its head, and how long.

    None: as the task has it, which is as the reference does.
    """

    # Of GLUE: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli. Of questions: squad1, squad2,
    # newsqa, naturalqs, triviaqa, searchqa, hotpotqa. Others: chunk, ner, translation,
    # summarization, squad_retrieval. Your own rows: text, text_multi_label, text_regression,
    # tagging, spans, seq2seq, extractive, retrieval, image_text, image_retrieval. None: no
    # fine-tuning.
    name: str | None = setting(None)
    train_file: str | None = setting(None)  # below data.path, as the next two
    dev_file: str | None = setting(None)
    test_file: str | None = setting(None)
    # Share of the train file's rows that is scored, in place of a dev file.
    dev_share: float | None = setting(None, at_least=0.001, at_most=0.9)
    columns: ColumnsConfig = dataclasses.field(default_factory=ColumnsConfig)
    header: bool | None = setting(None)  # whether a table's first line names its columns
    separator: str | None = setting(None)  # between cells of a table; None: by the file's ending
    # 'a,b,c', in the order of their numbers where the files have numbers; None: the train file's,
    # sorted.
    labels: str | None = setting(None)
    # Of tags: plain, bio, iob1, iobes, bilou, iobe or iobs; or io: tags of words inside, without
    # letters. None: what the tags look like.
    scheme: str | None = setting(None)
    unanswerable: bool | None = setting(None)  # whether questions may have no answer
    double_pairs: bool | None = setting(None)  # train on (b, a) too
    # What these become where they are unset: head, epochs, warmup_rate, batch_size, and of
    # `optimizer` learning_rate, weight_decay, layer_decay. 'fitting': what suits the checkpoint and
    # the number of rows (`finetune.fitting`). 'reference': google-research/electra's.
    defaults: str = setting('fitting', choices=('fitting', 'reference'))
    # 'huggingface': the layers of transformers' heads for Electra. 'mean': a row from all its
    # tokens. 'prompt': classes by their words in a template, by the discriminator's own head.
    # 'modernbert', 'modernbert_cls': those of its ModernBERT, from the mean of a row's tokens or
    # from the first.
    head: str = setting(UNSET, choices=HEAD_STYLES)
    head_dropout: float = setting(0.1, at_least=0, at_most=0.99)
    epochs: float | None = setting(None, at_least=0.001)
    # Share of all steps; takes the place of optimizer.warmup_steps.
    warmup_rate: float = setting(UNSET, at_least=0, at_most=1)
    # End a trial after so many epochs without a better headline score; None: at its last step.
    patience: int | None = setting(None, at_least=1)
    # What a row (in tagging a word) of each class counts in the loss: 'none': the same. 'balanced':
    # classes count the same together, however many rows they have. Or numbers 'a,b,c' in the order
    # of the labels.
    class_weights: str = setting('none')
    # Losses added up over a batch, as in the reference: gradients then grow with the batch, and
    # clipping alone decides how long they are.
    sum_loss: bool = setting(False)
    bucketing: bool = setting(True)  # rows of similar length together; False: all of row_length
    # The state of each trial that counts: 'last' (as in published figures) or 'best'. Unset: the
    # last one, or with `patience` the best.
    keep: str = setting(UNSET, choices=('last', 'best'))
    # Instead of one state: the mean of those after so many of the last epochs; None: off.
    average_last: int | None = setting(None, at_least=2, at_most=1000)
    predict_test: bool = setting(False)  # also predict the task's test files; write submissions
    save: str = setting('all', choices=('all', 'best', 'none'))  # trials whose parameters are kept
    # Of 'extractive': sentences of an answer; None: about as many as come nearest to the summaries
    # of the train file.
    sentences: int | None = setting(None, at_least=1, at_most=1000)
    # Questions about texts. A text too long for a row becomes several rows, `stride` apart.
    question_length: int = setting(64, at_least=1)  # pieces, at most
    stride: int = setting(128, at_least=1)
    answer_length: int = setting(30, at_least=1)  # pieces, at most
    n_best: int = setting(20, at_least=1)  # answers that are compared for each question
    # 'reference' head: beam width for starts, and for ends of each start; and the weight of the
    # loss of "is there an answer".
    beams: int = setting(20, at_least=1)
    answerable_weight: float = setting(0.5, at_least=0)
    null_threshold: float | None = setting(None)  # no answer is given above this score
    # 'prompt' head: sentiment, topic, entailment, or text with {text} and {label}; and the classes
    # with their words, '1=good|great,0=bad'; None: those of the template.
    template: str | None = setting(None)
    words: str | None = setting(None)
    # Texts that belong together: what cosines are divided by in the loss, and whether each text
    # also looks for its partner the other way round.
    temperature: float = setting(0.05, at_least=0.001, at_most=10)
    symmetric: bool = setting(True)
    # Texts as answers. So many examples of a split are answered after each epoch, by greedy choice,
    # and all of them as `decoding` has it at the end; None: all, as at the end, after each epoch.
    interim_rows: int | None = setting(500, at_least=1)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
