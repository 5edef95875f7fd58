"""Property tests draw the same examples every time and are never timed."""

import jaxtyping
import pytest
from hypothesis import settings

from moe_lib import native

settings.register_profile("book", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("book")


@pytest.fixture
def _plain(monkeypatch):
    """Let the library run as where no compiler was found."""
    monkeypatch.setattr(native, "library", lambda: None)


@pytest.fixture
def _as_a_reader(monkeypatch):
    """Switch the shape checker off: a reader meets the library without it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
