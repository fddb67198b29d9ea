"""Files that came from elsewhere: where links lead, and how much of them is believed."""

import pathlib

MOST_JSON_BYTES = 1 << 28  # of a file of settings or a tokenizer; real ones hold a few MB

_HUB_SNAPSHOTS, _HUB_BLOBS = 'snapshots', 'blobs'  # folders of a Hugging Face cache


def link_problem(path: pathlib.Path, folder: pathlib.Path) -> str | None:
    """What is wrong with a file of `folder` that is really somewhere else, or None.

    A cache of the Hugging Face Hub is made of links from `snapshots/REVISION` to `blobs` beside
    it; those are as good as files.
    """
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # Python 3.11 and 3.12 have both for a circle
        return f'{path} is a link that leads nowhere'
    allowed = [home]
    allowed += [
        parent.parent / _HUB_BLOBS
        for parent in (home, *home.parents)
        if parent.name == _HUB_SNAPSHOTS
    ]
    if any(real.is_relative_to(root) for root in allowed):
        return None
    return f'{path} is a link to {real}, outside of {folder}: copy the file there if you trust it'


def tree_problem(folder: pathlib.Path) -> str | None:
    """The first thing below `folder` that is not to be read, or None.

    That is a link out of it, a link to a folder (which may lead in a circle), a pipe or a device.
    """
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            problem = link_problem(path, folder)
            if problem is None and path.is_dir():
                problem = f'{path} is a link to a folder: copy the folder there'
            if problem is None and not path.exists():
                problem = f'{path} is a link that leads nowhere'
        else:
            plain = path.is_file() or path.is_dir()
            problem = None if plain else f'{path} is neither a file nor a folder'
        if problem is not None:
            return problem
    return None


def read_small(path: pathlib.Path) -> bytes:
    """The bytes of a file of settings.

    Raises:
      OSError: it cannot be read.
      ValueError: it is larger than any such file.
    """
    size = path.stat().st_size
    if size > MOST_JSON_BYTES:
        raise ValueError(f'it has {size:,} bytes, and at most {MOST_JSON_BYTES:,} are read')
    return path.read_bytes()
