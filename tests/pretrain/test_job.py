"""Which way a run of pre-training goes."""

from etils import epath

from electra_jax.pretrain import job
from electra_jax.pretrain.text import Text
from tests.support.configs import tiny_config


def test_a_process_that_sees_no_end_goes_the_way_of_the_first_one(tmp_path, monkeypatch):
    monkeypatch.setattr(job.distributed, 'agree', lambda number: 12)
    monkeypatch.setattr(job.texts, 'check_checkpoint', lambda *_, **more: None)
    monkeypatch.setattr(job.Checkpoints, 'about', lambda *_: {})
    assert job.finished_step(tiny_config(), Text([], [], None), epath.Path(tmp_path)) == 12
