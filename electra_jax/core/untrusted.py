"""Checks of files that came from elsewhere: where their links lead, and how large they are."""

import pathlib

MOST_JSON_BYTES = 1 << 28  # limit for a file of settings or a tokenizer; real ones hold a few MB


def link_problem(path: pathlib.Path, folder: pathlib.Path) -> str | None:
    """Describes a link that leads out of `folder`; None where `path` is safe to read.

    A cache of the Hugging Face Hub holds links from `snapshots/REVISION` to the folder `blobs`
    next to `snapshots`. These are allowed.
    """
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # Python 3.11 and 3.12 raise either for a circle of links
        return f'{path} is a link that leads nowhere'
    snapshots = [folder for folder in (home, *home.parents) if folder.name == 'snapshots']
    blobs = [folder.with_name('blobs') for folder in snapshots]
    if any(real.is_relative_to(root) for root in (home, *blobs)):
        return None
    return f'{path} is a link to {real}, outside of {folder}: copy the file there if you trust it'
