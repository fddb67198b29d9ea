"""A trained model as an object, which the command `predict` uses as well: ``electra_jax.load``."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.config.settings import Config
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import CheckpointError, ConfigError, DataError, unknown
from electra_jax.finetune import predict
from electra_jax.finetune.examples import Example, TextExample
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.files.texts import named
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference import opened
from electra_jax.inference.abilities.detect import Detected
from electra_jax.inference.abilities.fill_mask import Filled
from electra_jax.inference.abilities.score import Scored
from electra_jax.inference.abilities.table import ABILITIES
from electra_jax.inference.abilities.zero_shot import Classified
from electra_jax.inference.ability import AT_ONCE, DEFAULTS, Notes, Options, check_options
from electra_jax.inference.listen import Listener
from electra_jax.inference.work import OWN_TASK, Work, reports
from electra_jax.init_from import checked_start
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown

AUTO = 'auto'  # the task of a fine-tuned checkpoint, and the first ability of another one
TASKS = (AUTO, *ABILITIES)  # values of `predict --task`
# What a model may do without fine-tuning, and needs no more than texts: method -> ability.
_METHODS = {'encode': 'embed', 'detect': 'detect', 'fill_mask': 'fill_mask'}


class LoadedModel:
    """A trained model on the devices of this machine.

    Its functions take any number of texts and answer them in batches of rows of similar length; a
    program is compiled the first time that a row length is met. What is cut, and text that the
    vocabulary does not know, is reported as a warning.

    Attributes:
        where: the folder, or KIND:PATH of another project's checkpoint.
        tokenizer: text to ids and back.
        config: that it was trained with, for the present devices.
        task: that it was fine-tuned on; None: it was pre-trained only.
    """

    where: str
    tokenizer: Tokenizer
    config: Config
    task: Task | None

    def __init__(self, found: opened.Found, batch_size: int):
        settings = opened.settings_of(batch_size)
        start = checked_start(settings, found.where, found.params, found.about, has_encoder=False)
        self._tuned = predict.open_predictor(start, settings) if found.is_tuned else None
        placed = self._tuned.params if self._tuned else {}
        self._opened = opened.open_pretrained(found, start, settings, placed)
        self._works: dict[tuple[str, Options], Work] = {}
        self.where, self.tokenizer = self._opened.where, self._opened.tokenizer
        self.config = self._opened.config
        self.task = self._tuned.task if self._tuned else None

    def __repr__(self) -> str:
        what = f'fine-tuned on {self.task.name}' if self.task else 'pre-trained'
        return f'<electra_jax model {self.where}, {what}>'

    # ---- Texts

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text: the mean of its tokens' last hidden states.

        Returns:
            float32 [texts, D], D the model's width.
        """
        vectors = list(self._answers('embed', texts))
        return np.stack(vectors) if vectors else np.zeros((0, self.config.model.hidden_size), 'f')

    def detect(self, texts: Sequence[str]) -> list[Detected]:
        """The tokens of each text, with the probability that each was replaced.

        Returns:
            for each text of T tokens: `tokens`, list of str; `spans`, int32 [T, 2], token t was
            made of text[begin:end]; `replaced`, float32 [T].

        Raises:
            CheckpointError: the checkpoint has no head for this.
        """
        return list(self._answers('detect', texts))

    def fill_mask(self, texts: Sequence[str], k: int = 5) -> list[list[list[Filled]]]:
        """The `k` likeliest tokens for each [MASK] of each text, by the generator.

        Returns:
            for each text, for each of its masks: `k` tokens with their probabilities, the likeliest
            first.

        Raises:
            CheckpointError: the checkpoint has no generator.
            DataError: a text has no [MASK].
        """
        if k < 1:
            raise ConfigError(f'k is {k}, allowed: 1 or more')
        return list(self._answers('fill_mask', texts, Options(top_k=k)))

    def score(self, texts: Sequence[str], scorer: str | None = None) -> list[Scored]:
        """How likely each text is, in nats: the sum over its tokens.

        Args:
            texts: of any length that a row has room for.
            scorer: 'generator': log p of each token given all others, one position masked at a
                time; 'discriminator': the log-probability that each token is original; 'electric':
                negative energies. None: the one that suits the checkpoint best.

        Returns:
            for each text of T tokens: `score`; `terms`, float32 [T], of each token.

        Raises:
            CheckpointError: the checkpoint lacks what the scorer needs.
        """
        return list(self._answers('score', texts, Options(scorer=scorer)))

    def classify(
        self,
        texts: Sequence[Any],
        labels: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        template: str = 'sentiment',
        scorer: str | None = None,
    ) -> list[Classified]:
        """A label for each text without training: the one whose words fit best into a template.

        Args:
            texts: or tuples of two, for a template of pairs.
            labels: label -> its words, or labels that are their own words; None: those of the
                template.
            template: a key of `TEMPLATES`, or a sentence with the slots {text} and {label}, and
                {text_b} for a second text.
            scorer: 'discriminator' or 'generator'; None: the former where there is one.

        Returns:
            for each text: `prediction`, a label; `probabilities`, the share of each label.
        """
        if labels is not None and not isinstance(labels, Mapping):
            labels = {label: [label] for label in _several(labels)}
        listed = None if labels is None else tuple(map(_label_words, labels.items()))
        options = Options(scorer=scorer, template=template, labels=listed)
        return list(self._answers('zero_shot', texts, options))

    # ---- The task that it was fine-tuned on

    def predict(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """What a fine-tuned model answers to rows, as ``python -m electra_jax.predict`` does.

        Args:
            rows: texts; or tuples of two texts, of a question and its text; or dictionaries with
                the columns of the training file.

        Returns:
            a dictionary for each row, with an 'id', its number from 0 where it has none of its own,
            and the fields of the task, such as 'prediction' and 'probabilities'.

        Raises:
            CheckpointError: the checkpoint was not fine-tuned.
            DataError: a row cannot be used.
        """
        if self._tuned is None:
            raise not_tuned(self)
        work, rows = self.work(AUTO), _several(rows)
        examples = predict_input.from_rows(work.task, rows, _Refused('')) if rows else []
        answers = list(self._warned(work, examples))  # to its end, where it warns
        return list(map(work.to_json, examples, answers))

    # ---- Lines as they come

    def listen(
        self, lines: Iterable[str], task: str = AUTO, form: str = 'auto', **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Answers each line when it comes, as ``python -m electra_jax.predict --listen`` does.

        Args:
            lines: such as those of a socket or a queue; each is asked for after the answer to the
                one before.
            task: a value of `predict --task`.
            form: 'lines', a text each, or two with a tab between; 'jsonl', an object each; 'auto':
                lines, of which those that look like JSON are refused.
            options: fields of `inference.ability.Options`, such as ``top_k=3``.

        Returns:
            for each line what `predict` writes, or its 'id' and an 'error'; the id is the line's
            number from 0 where it has none of its own.

        Raises:
            CheckpointError: the checkpoint lacks what is needed.
            ConfigError: an answer depends on other rows, or an option is not read.
        """
        listener = Listener(self.work(task, Options(**options)), form)
        return (answer for line in lines for answer in listener.answer([line]))

    # ---- What the command shares

    def work(self, task: str = AUTO, options: Options = DEFAULTS) -> Work:
        """A thing to do, one of TASKS; the same `options` compile a program once."""
        if task not in TASKS:
            raise unknown('--task', task, TASKS)
        if task == AUTO and self._tuned is not None:
            check_options(options, (), OWN_TASK)
            return self._own_work()
        name = next(iter(ABILITIES)) if task == AUTO else task
        if (name, options) not in self._works:
            ability, found = ABILITIES[name], self._opened
            check_options(options, ability.options, name)
            self._works[name, options] = Work(
                name,
                ability.task(found, options),
                lambda example: ability.check(found, example),
                ability.bind(found, options),
                ability.to_json,
                ability.measure,
                ability.at_once,
                ability.labelled,
                ability.fills,
            )
        return self._works[name, options]

    def _own_work(self) -> Work:
        tuned = self._tuned
        assert tuned is not None
        kind = KINDS[tuned.task.kind]

        def answer(examples: Sequence[Any], notes: Notes) -> Iterator[Any]:
            found = tuned.answer(examples, *notes)
            # One that depends on the others has no value of its own, to be scored by.
            values = [None] * len(examples) if kind.together else found.values
            return zip(kind.to_json(found), values, strict=True)

        def score(files: Mapping[str, Sequence[tuple[Any, tuple[Any, Any]]]]) -> list[str]:
            return tuned.scores(
                {
                    name: [(example, value) for example, (_, value) in pairs]
                    for name, pairs in files.items()
                }
            )

        return Work(
            OWN_TASK,
            tuned.task,
            lambda example: None,
            answer,
            lambda example, result: result[0],
            score=None if kind.together else score,
            at_once=None if kind.together else AT_ONCE,
        )

    def _answers(
        self, name: str, texts: Sequence[str], options: Options = DEFAULTS
    ) -> Iterator[Any]:
        """The results for texts that a program hands over."""
        work, examples = self.work(name, options), []
        for number, text in enumerate(_several(texts)):
            where = f'text {number}'
            with lines.Refusing(_Refused(''), where):
                example = _example(text, work.task.usual_columns, number, where)
                work.check(example)
                examples.append(example)
        return self._warned(work, examples)

    def _warned(self, work: Work, examples: Sequence[Example]) -> Iterator[Any]:
        notes = Notes(_Refused(''), Unknown())
        for some in work.answers(examples, notes):
            yield from some
        for line in reports(notes, 'the texts'):
            warnings.warn(line, stacklevel=3)


def not_tuned(model: LoadedModel) -> CheckpointError:
    """The error for a checkpoint that is asked for a task of its own; it names what it can do."""
    able = []
    for method, ability in _METHODS.items():
        with contextlib.suppress(CheckpointError):
            model.work(ability)
            able.append(method)
    return CheckpointError(
        f'{model.where} was not fine-tuned, so there is no task that it answers. It can '
        f'{", ".join(able)} (docs/python.md); or fine-tune it first (configs/finetune/)'
    )


class _Refused(Complaints):
    """What cannot be used is an error for a program, which fixes it or leaves it out."""

    def refuse(self, reason: str, where: str, problem: str) -> None:
        """Refuses it."""
        raise DataError(f'{where}: {predict_input.in_words_of_predict(problem)}')


def _example(text: Any, columns: Columns, number: int, where: str) -> TextExample:
    """A text that a program hands over, or two; UnusableError where it is not what is needed."""
    is_pair = columns.text_b is not None
    parts = list(text) if is_pair and isinstance(text, tuple | list) else [text]
    if len(parts) != 1 + is_pair:
        raise lines.UnusableError('bad_width', f'two texts are needed, found {text!r:.60}')
    usable = [lines.usable_text(part, 'the text') for part in parts]
    names = named(columns.text_a, columns.text_b)
    return TextExample(str(number), usable[0], usable[1] if is_pair else None, None, where, names)


def _label_words(item: tuple[str, Sequence[str]]) -> tuple[str, tuple[str, ...]]:
    """A label and its words; ConfigError where they are no list of words."""
    name, words = item
    if isinstance(words, str) or not words or not all(isinstance(w, str) for w in words):
        raise ConfigError(f'labels has {words!r} for {name!r}, allowed: a list of words')
    return name, tuple(words)


def _several(texts: Any) -> list[Any]:
    """A list of what was handed over, which a single text or dictionary is not."""
    if isinstance(texts, str | Mapping):
        raise DataError(f'{texts!r:.60} is one {type(texts).__name__}: hand over a list of them')
    return list(texts)


def load(path: str | os.PathLike[str], batch_size: int = 32) -> LoadedModel:
    """Opens a checkpoint; `electra_jax.load` describes it."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size!r}, allowed: an integer of 1 or more')
    found = opened.read(os.fspath(path), opened.settings_of(batch_size), 'path')
    for note in found.notes:
        warnings.warn(f'{found.where}: {note}', stacklevel=3)
    return LoadedModel(found, batch_size)
