"""How figures and words are written on a page, whatever it reports."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup


def environment(package: str) -> Environment:
    """Where the templates of a package are rendered: everything is escaped, nothing may lack."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, ms=_ms, usd=_usd, words=_words, percent=_percent)
    return environment


def asset(name: str) -> Markup:
    """A file of this package, which is trusted: it goes into the page as it is."""
    return Markup(files("batchctl.report").joinpath(name).read_text(encoding="utf-8"))  # noqa: S704


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _ms(value: float | None) -> str:
    """A duration, in the unit a person would say it in."""
    if value is None:
        return "—"
    return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms"


def _usd(value: float | None) -> str:
    if value is None:
        return "—"
    return f"${value:,.2f}" if value >= 1 else f"${value:,.4f}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _percent(part: float, whole: float) -> str:
    """A share; one that occurred is never 0.0 %, one that is not whole never 100.0 %."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.1f} %"
