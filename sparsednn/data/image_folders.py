"""Reads folders of image files, with a folder for each class or without."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, MissingPackageError

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".pgm": "PPM", ".ppm": "PPM", ".tif": "TIFF",
    ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
"""By ending; files of other kinds are passed over."""

MODES = {"1": "L", "L": "L", "I;16": "I;16", "RGB": "RGB", "P": "RGB"}
"""Modes of Pillow that are read, with what they are read as, without loss."""


class ImageFolder:
    """The images of a folder, in the order of their paths.

    Parameters
    ----------
    path : Path
        With images, or with folders of images that are named by their classes.

    Attributes
    ----------
    paths : list of Path
    shape : tuple of int
        (height, width) of grey images, (height, width, 3) of those with colours.
    labels : int64 array, shape (n,), or None
        Which folder each lies in, by the order of the folders' names.
    class_names : tuple of str
        Names of the folders.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such folder, it has no images, or some beside folders with others.
    ImportError
        If Pillow is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise MissingFileError(
                f"{path}: {'is a file; a folder of images is needed' if path.exists() else 'no such folder'}"
            )
        folders = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
        within = {folder.name: _images(folder) for folder in folders}
        within = {name: images for name, images in within.items() if images}
        self.paths, self.labels, self.class_names = _images(path), None, tuple(within)
        if self.paths and within:
            raise DataError(f"{path}: has images, and folders with images ({', '.join(within)}); leave one kind in its place")
        if within:
            self.paths = [image for images in within.values() for image in images]
            self.labels = np.repeat(np.arange(len(within)), [len(images) for images in within.values()]).astype(np.int64)
        if not self.paths:
            raise DataError(f"{path}: has no image with one of the endings {', '.join(FORMATS)}")
        self.shape = _decoded(self.paths[0]).shape

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return images of some numbers, from 0: uint8 or uint16, shape (len(numbers), *shape).

        Raises
        ------
        ValueError
            If one cannot be decoded, is of another shape than the first of all, or of a kind that cannot be read without loss.
        """
        images = [self._image(self.paths[number]) for number in numbers]
        return np.stack(images) if images else np.zeros((0, *self.shape), np.uint8)

    def _image(self, path: Path) -> NDArray[Any]:
        image = _decoded(path)
        if image.shape != self.shape:
            raise DataError(f"{path}: is an image of shape {image.shape}, but {self.paths[0]} of {self.shape}; make all alike")
        return image


def _images(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.suffix.lower() in FORMATS and not one.name.startswith("."))


def _decoded(path: Path) -> NDArray[Any]:
    """Return an image as an array: (height, width), or (height, width, 3)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(f"{path}: Pillow decodes images ({error}): pip install pillow") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=[FORMATS[path.suffix.lower()]]) as image:
                mode = MODES.get(image.mode)
                if mode is None or "transparency" in image.info or getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"is of a kind that is not read ({image.mode}); save it as plain grey or RGB")
                return np.array(image if image.mode == mode else image.convert(mode))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise nearly anything
        raise DataError(f"{path}: no image, or a damaged one: {str(error).partition(chr(10))[0]}") from error
