"""Files that are whole or not there."""

from etils import epath


def write_whole(path: epath.Path, text: str, mark: str = '') -> None:
    """Puts `text` in the place of what `path` holds, in one move.

    Args:
        path: of the file, whose folder must exist.
        text: all of it.
        mark: of the file that is written first, where several processes may write at once.

    Raises:
        OSError: the disk is full, for example; `path` is then as it was.
    """
    fresh = path.parent / f'{path.name}{mark}.tmp'
    fresh.write_text(text)
    fresh.replace(path)
