"""Pictures as values: SVG that notebooks show and files hold."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import final

from daskresearch.draw.nodes import draw_nodes
from daskresearch.draw.plan import draw_plan
from daskresearch.errors import PictureError
from daskresearch.markup import theme

__all__ = ["Picture", "draw_nodes", "draw_plan"]

_PNG_SCALE = 2
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>daskresearch</title>
<style>
{theme}body {{ margin: 0; }}
.daskresearch-page {{ background: var(--dr-paper); min-height: 100vh; overflow-x: auto; }}
</style>
</head>
<body><div class="daskresearch-page">{svg}</div></body>
</html>
"""


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a notebook shows and `save` writes to a file.

    Parameters
    ----------
    svg : str

    Examples
    --------
    >>> picture = Picture(draw_nodes([], 0))
    >>> picture.svg[:4]
    '<svg'
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x: auto">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"<Picture: {len(self.svg):,} characters of SVG; save() writes .svg, .html or .png>"

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the picture to a file and return its path.

        Parameters
        ----------
        path : str or path
            Ends with ``.svg``, ``.html`` or ``.png``; the last needs the package cairosvg.

        Raises
        ------
        PictureError
            If the ending is another one, or a PNG is asked for without cairosvg.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> Picture(draw_nodes([], 0)).save(pathlib.Path(folder.name, "nodes.svg")).name
        'nodes.svg'
        >>> folder.cleanup()
        """
        file = Path(path)
        ending = file.suffix.lower()
        if ending == ".svg":
            content = f'<?xml version="1.0" encoding="utf-8"?>\n{self.svg}\n'.encode()
        elif ending == ".html":
            content = _PAGE.format(theme=theme(".daskresearch-page"), svg=self.svg).encode()
        elif ending == ".png":
            content = _png_of(self.svg)
        else:
            raise PictureError(
                f"cannot write a picture as {str(file)!r}; end its name with .svg, .html or .png"
            )
        file.write_bytes(content)
        return file


def _png_of(svg: str) -> bytes:
    """Return a picture as PNG, in the light colours."""
    try:
        cairosvg = importlib.import_module("cairosvg")
    except (ImportError, OSError) as error:  # OSError: cairosvg is there, the library cairo is not
        raise PictureError(
            "a PNG needs the package cairosvg and the library cairo that it calls: "
            "pip install 'daskresearch[png]'; or save the picture as .svg or .html"
        ) from error
    # cairosvg takes the variables of the stylesheet for black; without it the shapes are light
    plain = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
    png: bytes = cairosvg.svg2png(bytestring=plain.encode(), scale=_PNG_SCALE)
    return png
