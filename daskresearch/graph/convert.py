"""From SVG to PNG, by whatever on this machine can do it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from daskresearch.errors import PictureError

_TIMEOUT_S = 60
_SCALE = 2


def png_of(svg: str) -> bytes:
    """Return a picture as PNG, in the light colours.

    Raises
    ------
    PictureError
        If there is nothing that can convert it, or what there is fails.
    """
    plain = re.sub(
        r"<style>.*?</style>", "", svg, flags=re.DOTALL
    )  # not every converter knows CSS variables
    if importlib.util.find_spec("cairosvg") is not None:
        converted: bytes = importlib.import_module("cairosvg").svg2png(
            bytestring=plain.encode(), scale=_SCALE
        )
        return converted
    with tempfile.TemporaryDirectory(prefix="daskresearch-picture-") as folder:
        source, target = Path(folder, "picture.svg"), Path(folder, "picture.png")
        source.write_text(plain, encoding="utf-8")
        _run(_command(plain, source, target), target)
        return target.read_bytes()


def _command(svg: str, source: Path, target: Path) -> list[str]:
    if shutil.which("rsvg-convert"):
        return ["rsvg-convert", f"--zoom={_SCALE}", f"--output={target}", str(source)]
    if shutil.which("inkscape"):
        return [
            "inkscape",
            f"--export-dpi={96 * _SCALE}",
            f"--export-filename={target}",
            str(source),
        ]
    browser = next(
        (name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)),
        None,
    )
    if browser is not None:
        width, height = [
            round(float(size)) for size in re.findall(r'(?:width|height)="([\d.]+)"', svg)[:2]
        ]
        return [
            browser, "--headless", *_root_options(), "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            f"--user-data-dir={source.parent}", f"--force-device-scale-factor={_SCALE}",
            f"--window-size={width},{height}", f"--screenshot={target}", source.as_uri(),
        ]  # fmt: skip
    raise PictureError(
        "a PNG needs a program that converts SVG, and there is none; install the package cairosvg or the program "
        "rsvg-convert, or save the picture as .svg or .html"
    )


def _root_options() -> list[str]:
    return (
        ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    )  # as root it starts in no other way


def _run(command: list[str], target: Path) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        told = done.stderr.strip()
    except subprocess.TimeoutExpired:
        told = f"it did not end within {_TIMEOUT_S} seconds"
    if not target.exists():
        raise PictureError(
            f"{command[0]} could not convert the picture to PNG: {told or 'it wrote nothing'}; install the package "
            f"cairosvg, or save the picture as .svg or .html"
        )
