"""What the harness reports of runs that were asked to stop."""

import pytest

from tools.faults import faults, rounds, setting
from tools.faults.processes import Mark


def marks(*names):
    return [Mark(0.0, name, [str(step)]) for name, step in names]


START = (('started', 1), ('compiling', 0))
TRAINING = (*START, ('compiled', 0), ('stepping', 0), ('saving', 5), ('copied', 5))
OVER = (*TRAINING, ('saving', setting.STEPS), ('copied', setting.STEPS), ('saved', 0))
SAVED = 'stopped by SIGTERM at step 7, saved'
DONE = f'done: {setting.STEPS} steps'


@pytest.mark.parametrize(
    ('seen', 'output', 'status'),
    [
        (START, '', -15),
        (START, 'error: stopped', 130),
        ((*TRAINING, ('saving', 7), ('finishing', 0), ('saved', 0)), SAVED, 0),
        ((*TRAINING, ('saving', 7)), SAVED.replace('TERM', 'INT'), 130),
        (OVER, DONE, 0),
        (OVER, '', -15),  # when nothing was left to save
    ],
)
def test_a_good_end(seen, output, status):
    assert faults.wrong_end(marks(*seen), output, status) is None


@pytest.mark.parametrize(
    ('seen', 'output', 'status'),
    [
        (TRAINING, 'step 6/30', -15),  # the signal kills it
        (TRAINING, 'error: stopped', 130),
        (TRAINING, SAVED.replace('TERM', 'INT'), 0),
        ((*TRAINING, ('finishing', 0), ('saved', 0)), 'error: stopped', 1),  # of an earlier step
        (TRAINING, '', 0),
        (START, 'Segmentation fault', -11),
    ],
)
def test_a_bad_end(seen, output, status):
    assert f'status {status}' in faults.wrong_end(marks(*seen), output, status)


def test_a_run_that_had_ended_went_on_from_its_end():
    output = f'this run has ended before; nothing was computed\nnote: one\n{DONE}, disc_auc 0.7'
    assert rounds.step_reached(output) == setting.STEPS
    assert rounds.step_reached(f'continuing from step 25\n{DONE}') == 25
    assert rounds.step_reached(DONE) == 0
