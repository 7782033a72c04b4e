"""Templates: pages and cards are written from files that lie beside the modules that fill them."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(package: str, name: str, **filters: Callable[..., str]) -> Template:
    """A template of a package; what is put into an HTML page is escaped, and a name that is not given is an error.

    Args:
        package: that the file lies in.
        name: of the file.
        filters: functions that it may call, by name.
    """
    is_page = name.endswith(".html")
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=is_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not is_page,
    )
    environment.filters |= filters
    return environment.get_template(name)
