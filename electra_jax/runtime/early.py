"""What a command does before its imports, which take seconds."""

from collections.abc import Collection

from electra_jax.runtime import interrupt, usage


def begin(path: str, groups: Collection[str] = usage.ALL) -> None:
    """Answers ``--help`` for the command in the file `path`, and lets Ctrl-C end its imports.

    `groups` are the fields of `Config` that the command uses.
    """
    usage.answer(path, groups)
    interrupt.while_importing()
