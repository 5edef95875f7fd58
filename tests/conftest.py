"""Property tests draw the same examples every time and are never timed."""

from hypothesis import settings

settings.register_profile("book", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("book")
