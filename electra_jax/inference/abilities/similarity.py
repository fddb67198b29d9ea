"""Pairs of texts by their vectors, without training: how similar, and which belong together."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import Report
from electra_jax.finetune.examples import TextExample, answered
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds import contrastive, text
from electra_jax.finetune.kinds.contrastive import CONTRASTIVE, Found
from electra_jax.finetune.kinds.kind import RowOutputs, Task, json_number
from electra_jax.inference.ability import Ability, Answer, Notes, Options
from electra_jax.inference.opened import Opened
from electra_jax.runtime import terminal
from electra_jax.tokenizers import unknown


def retrieval_task(opened: Opened, options: Options) -> Task:
    """Pairs that belong together, or a SQuAD file."""
    return tasks.of_kind('contrastive', opened.config.data.row_length)


def retrieve(opened: Opened, options: Options) -> Answer:
    """The function that looks for the second text of each pair among those of all pairs."""
    run = _reader(opened, terminal.ERR.print)

    def find(examples: Sequence[TextExample], notes: Notes) -> Iterator[Found]:
        return iter(contrastive.searched(examples, *run(examples, notes)))

    return find


def _reader(
    opened: Opened, report: Report | None = None
) -> Callable[[Sequence[TextExample], Notes], tuple[Rows, RowOutputs]]:
    """Pairs -> the token rows of their texts, and the vectors of these."""
    task = tasks.of_kind('contrastive', opened.config.data.row_length)
    head = CONTRASTIVE.head(task)
    run = opened.program(('encoder',), lambda model: model.head(head).answers)

    def read(examples: Sequence[TextExample], notes: Notes) -> tuple[Rows, RowOutputs]:
        rows = contrastive.features(opened.tokenizer, examples, task).once
        assert rows is not None
        for number in rows.cut:
            notes.complaints.count(rows.cut_as, examples[number].where)
        notes.unknown.merge(unknown.count(opened.tokenizer, list(contrastive.numbered(examples))))
        return rows, run(rows, report)

    return read


def measure_ranks(examples: Sequence[TextExample], found: Sequence[Found]) -> dict[str, float]:
    """How far up the right texts are, and what BM25 reaches."""
    (by_words,) = contrastive.by_words(examples).values()
    control = {f'bm25_{name}': x for name, x in contrastive.measure(by_words).items()}
    return {**contrastive.measure(found), **control}


RETRIEVE = Ability(
    retrieve, contrastive.row_to_json, retrieval_task, measure=measure_ranks, at_once=None
)


# ---------------------------------------------------------------------------------------------
# Cosines


def similarity_task(opened: Opened, options: Options) -> Task:
    """Pairs of texts with a score that may be known."""
    task = tasks.of_kind('regression', opened.config.data.row_length)
    # The scores of a file are compared with cosines by their ranks, so that any range will do.
    return dataclasses.replace(
        task, columns=Columns(text_a='text_a', text_b='text_b'), score_range=(0.0, 1.0)
    )


def compare(opened: Opened, options: Options) -> Answer:
    """The function that gives the cosine of the vectors of two texts."""
    run = _reader(opened)

    def cosines(examples: Sequence[TextExample], notes: Notes) -> Iterator[float]:
        bare = [one._replace(label=None) for one in examples]  # the score is no text
        rows, outputs = run(bare, notes)
        return iter(contrastive.cosines(bare, rows, outputs))

    return cosines


def measure(examples: Sequence[TextExample], cosines: Sequence[float]) -> dict[str, float]:
    """The correlations with the scores of the file, of the rows that have one."""
    pairs = [(x.label, y) for x, y in zip(examples, cosines, strict=True) if x.label is not None]
    if len(pairs) < 2:
        return {}
    gold, found = (list(side) for side in zip(*pairs, strict=True))
    return text.regression_scores(('spearman', 'pearson'), gold, found).values


def to_json(example: TextExample, cosine: float) -> dict[str, Any]:
    """Both texts and their cosine."""
    return answered(example, {'similarity': json_number(cosine)})


SIMILARITY = Ability(compare, to_json, similarity_task, measure=measure, labelled=True)
