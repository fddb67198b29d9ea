"""Text files of your own (a paragraph a line, a blank line between documents), rows of 128 tokens.

Name them: --config.data.source=text:FOLDER --config.data.path=corpora/NAME. A vocabulary is
trained on them; to use one that exists: --config.data.tokenizer.path=vocab.txt. Two cores of an
EPYC server read 13.8 MB of English a second with BERT's vocabulary (docs/data.md).
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'data': {'path': 'corpora/text', 'source': 'text:text'}})
