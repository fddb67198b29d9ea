"""What a build prints at its end, why nothing may be built, and which logs are left out."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

from electra_jax.config import settings as schema
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import DataError
from electra_jax.corpus import divide, workers
from electra_jax.data import manifest
from electra_jax.runtime import terminal
from electra_jax.tokenizers import api
from electra_jax.tokenizers.unknown import Unknown


def summary(
    corpus: manifest.Corpus, ours: list[dict[str, int]], seconds: float, complaints: Complaints
) -> None:
    """Prints what was built, how fast (`ours`: what this run built), and what was odd."""
    counts, processes = corpus.counts, corpus.build['workers']
    found = corpus.build['pieces_found_finished']
    fill = 1 - counts['train_padding'] / (counts['train_rows'] * corpus.row_length)
    tokens = sum(one['train_tokens'] + one['validation_tokens'] for one in ours) / seconds
    megabytes = sum(one['text_bytes'] for one in ours) / seconds / 1e6
    documents = counted(counts['documents'], 'documents')
    held_out = counted(counts['validation_rows'], 'held-out rows')
    for line in complaints.lines():
        terminal.ERR.print(f'note: {line}')
    if counts['divided_documents']:
        terminal.ERR.print(
            f'note: {counted(counts["divided_documents"], "documents were")} too large to be held '
            'out whole: some stretches from all over the text are held out instead'
        )
    terminal.ERR.print(
        f'built {corpus.path} in {corpus.build["seconds"]:,.1f} s '
        f'({corpus.build["tokenizer_seconds"]:,.1f} s of them for the tokenizer): {documents}, '
        f'{counts["text_bytes"] / 1e6:,.1f} MB of text\n'
        f'  {counted(counts["train_rows"], "training rows")} of {corpus.row_length} '
        f'({counts["train_tokens"]:,} tokens, {counts["train_words"]:,} words, {fill:.1%} full), '
        f'{held_out}, vocabulary of {corpus.vocab_size:,}\n'
        f'  {megabytes:,.1f} MB/s, {tokens:,.0f} tokens/s '
        + (f'with {counted(processes, "processes")}' if processes else 'on Beam')
        + (f'; {counted(found, "pieces were")} there from before' if found else '')
    )


def no_rows(
    data: schema.DataConfig, counts: Mapping[str, int], complaints: Complaints
) -> DataError:
    """Why no document is in the training rows."""
    number, held_out = counts['documents'], counts['held_out_documents']
    if not number:
        notes = ''.join(f'; {line}' for line in complaints.lines())
        return DataError(f'data.source {data.source!r} holds no text{notes}')
    if number == held_out and data.validation_source is not None:
        return DataError(
            f'data.source {data.source!r} holds no text that data.validation_source '
            f'({data.validation_source!r}) does not name, too: nothing is left to train on; name '
            f'other text with --config.data.source, and {workers.ELSEWHERE}'
        )
    if number > held_out:
        return DataError(
            f'data.source {data.source!r}: by its weights no document is in the training rows; '
            f'give them larger ones, and {workers.ELSEWHERE}'
        )
    return DataError(
        f'data.source {data.source!r} holds {counted(number, "documents")}, and '
        f'{"it is" if number == 1 else "all are"} held out for evaluation (data.holdout is '
        f'{divide.held_out_share(data)}): nothing is left to train on. Add documents (a blank line '
        f'stands between two), or hold none out: --config.data.holdout=0; and {workers.ELSEWHERE}'
    )


def cause(unknown: Unknown, tokenizer: api.Tokenizer, config: schema.TokenizerConfig) -> str:
    """Why there may be so many [UNK], and what to type."""
    setting = '--config.data.tokenizer'
    typed, known = max(
        unknown.known_to(tokenizer.variants()), key=lambda one: one[1], default=('', 0)
    )
    number = len(unknown.words)
    if known > number / 2:
        return f'{known} of {number} such words are known with other switches: type {typed}'
    longest = tokenizer.max_word_chars
    if longest and sum(len(word) > longest for word in unknown.words) > number / 2:
        return (
            f'words of more than {longest} letters are [UNK] to {config.kind}: for text without '
            f'spaces type {setting}.kind=bpe, or {setting}.kind=characters'
        )
    if config.path is not None:
        return (
            f'the vocabulary {config.path} does not cover this text: leave {setting}.path out, and '
            'one is trained on it'
        )
    return (
        f'the letters of this text need more than {tokenizer.vocab_size:,} pieces: type a larger '
        f'{setting}.vocab_size'
    )


@contextlib.contextmanager
def without(logger: str, beginning: str = '') -> Iterator[None]:
    """Leaves out the logger's records that begin so: noise, or what an error of ours reports."""

    def keeps(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(beginning)

    logging.getLogger(logger).addFilter(keeps)
    try:
        yield
    finally:
        logging.getLogger(logger).removeFilter(keeps)
