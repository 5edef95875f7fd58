"""Buttons to Binder, Colab, the repository and its issues, on one condition.

They are there if `_config.yml` says where the repository is, and absent otherwise.
"""

import re
from urllib.parse import urlencode

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
BUTTONS = {
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "use_issues_button": True,
    "use_repository_button": True,
}


def add_buttons(app: Sphinx, config: Config) -> None:
    """Ask the theme for its buttons if the repository is known."""
    address = config.html_theme_options.get("repository_url")
    if not address:
        return
    if not ADDRESS.fullmatch(address):
        raise ConfigError(
            f"repository url: {address!r} is not like https://github.com/OWNER/NAME"
        )
    config.html_theme_options.update(BUTTONS)


def open_form(app, pagename, templatename, context, doctree) -> None:
    """Let the issue button open our form, with the page in the title of the issue."""
    query = urlencode({"template": "chapter.yml", "title": f"{pagename}: "})
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("label") == "source-issues-button":
                button["url"] = button["url"].partition("?")[0] + "?" + query


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.connect("config-inited", add_buttons)
    app.connect("html-page-context", open_form, priority=600)  # the theme: 501
    return {"parallel_read_safe": True, "parallel_write_safe": True}
