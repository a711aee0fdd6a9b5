"""The Jinja environment of the templates in this folder."""

from pathlib import Path
from typing import Any

import jinja2

from keras_deep_emotion.reports.text import count, number, percent, plain_percent


def render(template: str, **variables: Any) -> str:
    """Render a template, such as "report.html.j2"; HTML is escaped, Markdown is not."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),  # names come from users' files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = {"percent": percent, "plain_percent": plain_percent, "number": number, "count": count}
    environment.filters.update(filters)
    return environment.get_template(template).render(variables)
