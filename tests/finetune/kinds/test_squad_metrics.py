"""SQuAD's scores: by hand, and against the official rules taken literally, question by question."""

import random
import re
import string

import pytest

from electra_jax.finetune.examples import SpanExample
from electra_jax.finetune.kinds import squad_metrics


def example(name: str, references: list[str]) -> SpanExample:
    return SpanExample(name, 'context', 'q', (), not references, 'here', tuple(references))


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        ('The Cat', 'cat'),
        ('  a   cat ', 'cat'),
        ('an\tapple,\nthe end!', 'apple end'),
        ('U.S.A.', 'usa'),
        ('the-cat', 'thecat'),  # punctuation goes first, so no article is left
        ('A', ''),
        ('theory another', 'theory another'),
        ('…«Ünal»', '…«ünal»'),  # only ASCII punctuation goes
        ('', ''),
        ("rock 'n' roll", 'rock n roll'),
        ('$1,000.50', '100050'),
        ('a the an', ''),
        ('don\u2019t', 'don\u2019t'),
        ('the\u00a0end', 'end'),
    ],
)
def test_what_counts_of_an_answer(text, wanted):
    assert squad_metrics.normalized(text) == wanted


@pytest.mark.parametrize(
    ('predicted', 'reference', 'exact', 'f1', 'f1_2'),
    [
        ('the Cat.', 'cat', 1, 1, 1),
        ('big cat', 'cat', 0, 2 / 3, 2 / 3),
        ('cat cat dog', 'cat dog dog', 0, 2 / 3, 2 / 3),  # words count as often as they occur
        ('dog', 'cat', 0, 0, 0),
        ('', 'cat', 0, 0, 0),
        ('', '', 1, 0, 1),
        ('the', 'a', 1, 0, 1),
        ('café', 'cafe', 0, 0, 0),
        ('26 May 1896', 'May 1896', 0, 0.8, 0.8),
    ],
)
def test_one_answer_by_hand(predicted, reference, exact, f1, f1_2):
    assert squad_metrics.exact(predicted, reference) == exact
    assert squad_metrics.overlap(predicted, reference) == pytest.approx(f1)
    assert squad_metrics.overlap(predicted, reference, True) == pytest.approx(f1_2)


def test_the_best_of_several_references_counts():
    examples = [example('1', ['a big cat', 'cat']), example('2', ['dog', 'old dog'])]
    found = squad_metrics.score(examples, ['cat', 'very old dog']).values
    assert found == {'exact_match': 0.5, 'f1': pytest.approx((1 + 0.8) / 2)}


# ---------------------------------------------------------------------------------------------
# The official rules, as they are worded, with their loops


def official_words(text: str) -> list[str]:
    text = ''.join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r'\b(a|an|the)\b', ' ', text).split()


def official_f1(gold: str, predicted: str, version: int) -> float:
    gold_words, words = official_words(gold), official_words(predicted)
    if version == 2 and (not gold_words or not words):
        return float(gold_words == words)
    shared, left = 0, list(gold_words)
    for word in words:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(words), shared / len(gold_words)
    return 2 * precision * recall / (precision + recall)


def official_1(examples, texts) -> dict:
    exact = f1 = 0.0
    for e in examples:
        exact += max(float(official_words(r) == official_words(texts[e.id])) for r in e.references)
        f1 += max(official_f1(r, texts[e.id], 1) for r in e.references)
    return {'exact_match': exact / len(examples), 'f1': f1 / len(examples)}


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def official_2(examples, texts, none, threshold) -> dict:
    raw = {'exact': {}, 'f1': {}}
    for e in examples:
        golds = [r for r in e.references if official_words(r)] or ['']
        raw['exact'][e.id] = max(
            float(official_words(r) == official_words(texts[e.id])) for r in golds
        )
        raw['f1'][e.id] = max(official_f1(r, texts[e.id], 2) for r in golds)
    has = {e.id: bool(e.references) for e in examples}
    found = {}
    for name, scores in raw.items():
        final = {
            key: float(not has[key]) if none[key] > threshold else value
            for key, value in scores.items()
        }
        found['exact_match' if name == 'exact' else 'f1'] = mean(final.values())
        if any(has.values()):
            found[f'has_answer_{name}'] = mean(final[key] for key in final if has[key])
        if not all(has.values()):
            found[f'no_answer_{name}'] = mean(final[key] for key in final if not has[key])
        current = best = sum(not value for value in has.values())
        best_threshold = 0.0
        for key in sorted(none, key=lambda key: none[key]):
            current += scores[key] if has[key] else (-1 if texts[key] else 0)
            if current > best:
                best, best_threshold = current, none[key]
        found[f'best_{name}'] = best / len(scores)
        found[f'best_{name}_threshold'] = best_threshold
    return found


WORDS = [
    'the',
    'a',
    'cat',
    'Cat,',
    'old',
    'dog.',
    'Ünal',
    '"an"',
    '...',
    '1,000',
    '北京',
    "o'clock",
]


def random_case(seed: int, with_none: bool):
    rng = random.Random(seed)

    def words(least: int) -> str:
        return ' '.join(rng.choice(WORDS) for _ in range(rng.randint(least, 4)))

    examples, texts, none = [], {}, {}
    for i in range(60):
        references = [words(1) for _ in range(rng.randint(1, 4))]
        if with_none and rng.random() < 0.4:
            references = []
        examples.append(example(str(i), references))
        texts[str(i)] = rng.choice([words(0), *references])
        none[str(i)] = round(rng.uniform(-3, 3) + (1.5 if not references else 0), 1)  # with ties
    return examples, texts, none


def scores_or_none(examples, texts, none, threshold) -> dict:
    """Our scores of answers by id, which are in the order of the examples."""
    found = list(texts.values()), list(none.values())
    return squad_metrics.score_with_none(examples, *found, threshold).values


@pytest.mark.parametrize('seed', range(10))
def test_answers_to_all_against_the_official_rules(seed):
    examples, texts, _ = random_case(seed, with_none=False)
    found = squad_metrics.score(examples, list(texts.values())).values
    assert found == pytest.approx(official_1(examples, texts))


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('threshold', [-2.75, 0.0, 10.0])
@pytest.mark.parametrize('with_none', [True, False])
def test_answers_or_none_against_the_official_rules(seed, threshold, with_none):
    examples, texts, none = random_case(seed, with_none)
    found = scores_or_none(examples, texts, none, threshold)
    assert found == pytest.approx(official_2(examples, texts, none, threshold), abs=1e-12)


def test_when_no_answer_is_best_throughout():
    examples = [example('1', []), example('2', ['x'])]
    found = scores_or_none(examples, {'1': 'y', '2': 'z'}, {'1': 0, '2': 1}, 5.0)
    assert (found['best_f1'], found['best_f1_threshold']) == (0.5, 0.0)
    assert found['exact_match'] == 0.0
    low = scores_or_none(examples, {'1': 'y', '2': 'z'}, {'1': 0, '2': 1}, -5.0)
    assert low['exact_match'] == 0.5


def test_no_threshold_does_better_than_the_best():
    examples, _, _ = random_case(3, with_none=True)
    rng = random.Random(0)
    # Officially a tie may be cut in two, and an answer such as "the" loses 1 though it is right.
    texts = {e.id: rng.choice(['cat', 'old dog', *e.references]) for e in examples}
    texts = {name: text if squad_metrics.normalized(text) else 'x' for name, text in texts.items()}
    none = dict(zip(texts, rng.sample(range(1000), len(texts)), strict=True))
    best = scores_or_none(examples, texts, none, 0.0)
    found = [scores_or_none(examples, texts, none, one)['f1'] for one in none.values()]
    assert max(found) == pytest.approx(best['best_f1'])
    at_best = scores_or_none(examples, texts, none, best['best_f1_threshold'])
    assert at_best['f1'] == pytest.approx(best['best_f1'])
