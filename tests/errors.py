"""What a refusal must look like."""

import re

import pytest


def rejects(error, message, function, *args, **kwargs):
    """Assert that a call raises just this error with just this message."""
    with pytest.raises(error, match=f"^{re.escape(message)}$") as caught:
        function(*args, **kwargs)
    assert caught.type is error
