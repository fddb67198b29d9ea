"""Pictures read back."""

import numpy as np


def picture(path) -> np.ndarray:
    from matplotlib import image

    return image.imread(path)
