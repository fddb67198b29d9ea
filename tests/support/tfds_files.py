"""The files of a dataset as TFDS prepares it, made without TensorFlow."""

import json
import struct
from collections.abc import Sequence

from electra_jax.core import tfrecord


def record(**features: str) -> bytes:
    """A record of a TFRecord file that holds a tf.train.Example."""
    message = tfrecord._example()[0]()
    for name, text in features.items():
        entry = message.features.feature.add(key=name.encode())
        entry.value.bytes_list.value.append(text.encode())
    return framed(message.SerializeToString())


def framed(data: bytes) -> bytes:
    """Data as a record of a TFRecord file."""
    size = struct.pack('<Q', len(data))
    checks = (struct.pack('<I', tfrecord._checksum(one)) for one in (size, data))
    return size + next(checks) + data + next(checks)


def dataset(folder: str, config: str, texts: Sequence[str], shards: int = 2) -> dict[str, bytes]:
    """Path and content of each file of `NAME/CONFIG/VERSION`, whose split `train` holds `texts`."""
    name = folder.split('/')[0]
    groups = [texts[i::shards] for i in range(shards)]
    contents = [b''.join(record(text=text, title='A title') for text in one) for one in groups]
    split = {
        'name': 'train',
        'numBytes': str(sum(map(len, contents))),
        'shardLengths': [str(len(one)) for one in groups],
    }
    info = {'name': name, 'configName': config, 'fileFormat': 'tfrecord', 'splits': [split]}
    text = {'pythonClassName': 'tensorflow_datasets.core.features.text_feature.Text', 'text': {}}
    features = {'featuresDict': {'features': {'text': text, 'title': text}}}
    files = {f'{name}-train.tfrecord-{i:05}-of-{shards:05}': one for i, one in enumerate(contents)}
    files['dataset_info.json'] = json.dumps(info).encode()
    files['features.json'] = json.dumps(features).encode()
    return {f'datasets/{folder}/{path}': content for path, content in files.items()}
