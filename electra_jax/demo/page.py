"""The page in the browser, the only place that knows Gradio."""

import errno
import functools
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from electra_jax.core.errors import ConfigError
from electra_jax.demo import drawings
from electra_jax.demo.tabs import TABS, Tab, answered, lack
from electra_jax.inference import files
from electra_jax.inference.loaded import LoadedModel
from electra_jax.runtime import terminal

if TYPE_CHECKING:
    import gradio

_BATCH_SIZE = 8  # rows of a batch; a person asks for one or two at a time


def serve(checkpoint: str, host: str, port: int) -> None:
    """Opens a checkpoint and answers browsers until Ctrl-C.

    Raises:
        ConfigError: Gradio is missing, or the port is taken.
        CheckpointError: there is no such checkpoint, or it is damaged.
    """
    began = time.monotonic()
    if importlib.util.find_spec('gradio') is None:
        raise ConfigError("the page needs Gradio: type pip install -e '.[demo]'")
    _check_free(host, port)
    with terminal.alive('opening the model', terminal.ERR):
        page = build(files.open_model(checkpoint, _BATCH_SIZE))
    # Fonts of the machine; the usual ones would be asked for over the network.
    theme = _gradio().themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace'])
    page.launch(
        server_name=host, server_port=port, quiet=True, prevent_thread_lock=True, ssr_mode=False,
        footer_links=[], css=drawings.STYLE, theme=theme, pwa=False, share=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    shown = 'localhost' if host == '0.0.0.0' else host
    terminal.ERR.print(f'http://{shown}:{port} answers after {seconds:.1f} s; Ctrl-C ends it')
    if host not in ('127.0.0.1', 'localhost'):
        terminal.ERR.print('note: everybody who reaches this machine can use the page')
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)


def build(model: LoadedModel) -> 'gradio.Blocks':
    """The page of a model: a tab for each thing that it can do, or the reason why it cannot."""
    gradio = _gradio()
    lock = threading.Lock()  # a model answers one question at a time
    with gradio.Blocks(title='electra_jax', analytics_enabled=False) as page:
        what = f'fine-tuned on {model.task.name}' if model.task else 'pre-trained'
        gradio.Markdown(f'# electra_jax\n`{model.where}`, {what}')
        for tab in sorted(TABS, key=lambda one: lack(one, model) is not None):
            with gradio.Tab(tab.title):
                _fill(gradio, tab, model, lock)
    return page


def _fill(gradio: Any, tab: Tab, model: LoadedModel, lock: threading.Lock) -> None:
    gradio.Markdown(tab.about)
    if (why := lack(tab, model)) is not None:
        gradio.HTML(drawings.card(drawings.sentence(why)))
        return
    boxes = [
        gradio.Textbox(one.example, label=one.label, lines=one.lines, max_lines=20)
        for one in tab.fields(model)
    ]
    button = gradio.Button('Ask', variant='primary')
    shown = gradio.HTML()

    def ask(*values: str) -> str:
        with lock:
            return answered(tab, model, values)

    asks: Sequence[Any] = [button.click, *(one.submit for one in boxes if one.lines == 1)]
    for event in asks:
        event(ask, boxes, shown, api_name=False)


def _check_free(host: str, port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(
                    f'--host={host} is no IPv4 address of this machine ({error.strerror}): type '
                    '--host=127.0.0.1, or --host=0.0.0.0 for everybody who reaches this machine'
                ) from error
            raise ConfigError(
                f'--host={host} --port={port} cannot be used ({error.strerror}): type another one, '
                f'such as --port={port + 1 if port < 65535 else port - 1}'
            ) from error


@functools.cache
def _gradio() -> Any:
    # Nothing is sent anywhere, nor are there queries for newer releases.
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    import gradio

    return gradio
