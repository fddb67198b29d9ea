"""What `predict` reads of a folder."""

from electra_jax.inference import files


def test_what_a_folder_holds_and_is_not_read_is_reported(tmp_path, capsys):
    for name in ('b.csv', 'a.jsonl', 'notes.md', '.hidden'):
        (tmp_path / name).write_text('x\n')
    (tmp_path / 'more').mkdir()
    assert [path.name for path in files._paths(tmp_path)] == ['a.jsonl', 'b.csv']
    assert capsys.readouterr().err.strip().endswith('no ending names a format: more, notes.md')
    (tmp_path / 'notes.md').unlink()
    (tmp_path / 'more').rmdir()
    files._paths(tmp_path)
    assert not capsys.readouterr().err
