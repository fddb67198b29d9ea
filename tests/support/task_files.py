"""Small written files for each kind of task, easy enough to be learnt in a few steps."""

import json
import random

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
FILLERS = ['the', 'a', 'film', 'was', 'so', 'very', 'it', 'they', 'saw', 'here', 'then', 'now']
GOOD, BAD = ['great', 'good'], ['awful', 'bad']
NAMES, PLACES = ['anna', 'bob'], ['rome', 'oslo']
WORDS = [*FILLERS, *GOOD, *BAD, *NAMES, *PLACES, 'who', 'where', '?', '.']


def write_vocab(path):
    path.write_text('\n'.join([*SPECIAL, *WORDS]) + '\n')
    return path


def sentence(draw, length):
    return [draw.choice(FILLERS) for _ in range(length)]


def write_text(folder, sizes=(128, 16, 8)):
    """CSV: good or bad by one word; and as scores from 0 to 4 by how many."""
    draw = random.Random(0)
    for name, size in zip(('train', 'dev', 'test'), sizes, strict=True):
        lines = ['text,label']
        for _ in range(size):
            good = draw.random() < 0.5
            words = sentence(draw, draw.randint(2, 6))
            words.insert(draw.randint(0, len(words)), draw.choice(GOOD if good else BAD))
            lines.append(f'{" ".join(words)},{"good" if good else "bad"}')
        (folder / f'{name}.csv').write_text('\n'.join(lines) + '\n')


def write_rows(folder, make, seed, train=128):
    """JSON lines: rows that `make` makes of random draws."""
    draw = random.Random(seed)
    for name, size in (('train', train), ('dev', 16)):
        lines = [json.dumps(make(draw)) for _ in range(size)]
        (folder / f'{name}.jsonl').write_text('\n'.join(lines) + '\n')


def write_classes(folder):
    """Good, bad, both or neither, by their words."""

    def row(draw):
        words, label = sentence(draw, draw.randint(2, 6)), []
        for kind, choices in (('good', GOOD), ('bad', BAD)):
            if draw.random() < 0.5:
                words.insert(draw.randint(0, len(words)), draw.choice(choices))
                label.append(kind)
        return {'text': ' '.join(words), 'label': label}

    write_rows(folder, row, seed=4)


def write_scores(folder):
    draw = random.Random(1)
    for name, size in (('train', 128), ('dev', 16)):
        lines = ['text_a\ttext_b\tlabel']
        for _ in range(size):
            first, good = sentence(draw, 3), draw.randint(0, 1)
            second = [draw.choice(GOOD if good else BAD), *sentence(draw, 2)]
            lines.append(f'{" ".join(first)}\t{" ".join(second)}\t{1.0 + 3 * good}')
        (folder / f'{name}.tsv').write_text('\n'.join(lines) + '\n')


def write_tags(folder):
    draw = random.Random(2)
    for name, size in (('train', 128), ('dev', 16)):
        blocks = []
        for _ in range(size):
            words = [(word, 'O') for word in sentence(draw, draw.randint(2, 40))]
            for kind, choices in (('PER', NAMES), ('LOC', PLACES)):
                words.insert(draw.randint(0, len(words)), (draw.choice(choices), f'B-{kind}'))
            blocks.append('\n'.join(f'{word} {tag}' for word, tag in words))
        (folder / f'{name}.txt').write_text('\n\n'.join(blocks) + '\n')


def write_spans(folder):
    draw = random.Random(3)
    for name, size in (('train', 128), ('dev', 16)):
        paragraphs = []
        for i in range(size):
            words = sentence(draw, draw.randint(4, 30))
            who, where = draw.choice(NAMES), draw.choice(PLACES)
            words.insert(draw.randint(0, len(words)), who.capitalize())
            words.insert(draw.randint(0, len(words)), where)
            context = ' '.join(words) + '.'
            asks_who = draw.random() < 0.5
            answer = who.capitalize() if asks_who else where
            answers = [{'text': answer, 'answer_start': context.index(answer)}]
            question = 'who was it?' if asks_who else 'where was it?'
            qas = [{'id': f'{name}{i}', 'question': question, 'answers': answers}]
            paragraphs.append({'context': context, 'qas': qas})
        data = {'version': '1.1', 'data': [{'title': 't', 'paragraphs': paragraphs}]}
        (folder / f'{name}.json').write_text(json.dumps(data))


def write_parallel(folder):
    """Two files, line by line: who and where, from a sentence that has both."""
    draw = random.Random(5)
    for name, size in (('train', 128), ('dev', 16)):
        read, write = [], []
        for _ in range(size):
            words = sentence(draw, draw.randint(2, 12))
            who, where = draw.choice(NAMES), draw.choice(PLACES)
            for word in (who, where):
                words.insert(draw.randint(0, len(words)), word)
            read.append(' '.join(words))
            write.append(f'{who} was here' if where == PLACES[0] else f'they saw {who} then')
        (folder / f'{name}.en').write_text('\n'.join(read) + '\n')
        (folder / f'{name}.xx').write_text('\n'.join(write) + '\n')


def write_pairs(folder):
    """Two texts whose words belong together, each word to another one."""
    words = [*FILLERS, *GOOD, *BAD, *NAMES, *PLACES]
    partner = dict(zip(words, words[7:] + words[:7], strict=True))

    def row(draw):
        first = draw.sample(words, draw.randint(2, 4))
        second = draw.sample([partner[word] for word in first], len(first))
        return {'text_a': ' '.join(first), 'text_b': ' '.join(second)}

    write_rows(folder, row, seed=6, train=256)


def write_documents(folder):
    """A few sentences, of which the one about a place is the summary."""

    def row(draw):
        found = [' '.join(sentence(draw, draw.randint(2, 4))) for _ in range(3)]
        at = draw.randrange(3)
        found[at] += f' {draw.choice(PLACES)}'
        return {'document': '\n'.join(found), 'summary': found[at]}

    write_rows(folder, row, seed=6)


WRITERS = {
    'text': write_text,
    'text_multi_label': write_classes,
    'text_regression': write_scores,
    'tagging': write_tags,
    'spans': write_spans,
    'seq2seq': write_parallel,
    'retrieval': write_pairs,
    'extractive': write_documents,
}
