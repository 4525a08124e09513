"""The colours of the outcomes, as eyes that see fewer colours have them.

Colours are simulated as Machado, Oliveira and Fernandes (2009) do at full severity and compared in
OKLab, where 0.02 is a difference that can just be seen.
"""

from __future__ import annotations

import math
import re
from importlib.resources import files
from itertools import combinations
from typing import Final

import pytest

from tests.support.run_reports import OUTCOMES

type Colour = tuple[float, float, float]
type Matrix = tuple[Colour, Colour, Colour]

EYES: Final[dict[str, Matrix]] = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
OKLAB_CONES: Final[Matrix] = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
OKLAB: Final[Matrix] = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# WCAG 2.2, 1.4.11: graphical objects against what is beside them.
CONTRAST: Final = 3.0
DISTANCE: Final = 0.08


def palette(theme: str) -> dict[str, Colour]:
    css = files("batchctl.report").joinpath("report.css").read_text(encoding="utf-8")
    found = re.findall(r"--(\w+): light-dark\(#(\w{6}), #(\w{6})\);", css)
    return {name: linear(light if theme == "light" else dark) for name, light, dark in found}


def linear(text: str) -> Colour:
    parts = (int(text[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return red, green, blue


def seen(matrix: Matrix, colour: Colour) -> Colour:
    one, two, three = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return one, two, three


def oklab(colour: Colour) -> Colour:
    long, middle, short = (x ** (1 / 3) for x in seen(OKLAB_CONES, colour))
    return seen(OKLAB, (long, middle, short))


def distance(eyes: str, one: Colour, other: Colour) -> float:
    clipped = [tuple(min(max(x, 0.0), 1.0) for x in seen(EYES[eyes], c)) for c in (one, other)]
    first, second = (oklab((r, g, b)) for r, g, b in clipped)
    return math.dist(first, second)


def luminance(colour: Colour) -> float:
    red, green, blue = colour
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_no_two_outcomes_look_alike(theme: str, eyes: str) -> None:
    colours = palette(theme)
    for one, other in combinations(OUTCOMES, 2):
        assert distance(eyes, colours[one], colours[other]) > DISTANCE, (one, other)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_outcome_and_state_stands_out_from_the_paper(theme: str) -> None:
    colours = palette(theme)
    for name in (*OUTCOMES, "unaccounted", "call", "process", "write", "other", "init"):
        assert contrast(colours[name], colours["paper"]) >= CONTRAST, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme: str) -> None:
    colours = palette(theme)
    for name in ("ink", "quiet", "link", "good", "bad"):
        for ground in ("paper", "sheet"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
