"""Pictures in boxes, which scroll where a phone is too narrow for the lettering.

A figure of a chapter can be shown once more on another page:

```{picture} fig-name
```

The image and its alt text are the chapter's own, so they are never older.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective


class Place(nodes.Element):
    """Where the image of the figure `name` will be."""


class Picture(SphinxDirective):
    """The directive: a figure's name, nothing else."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # write the page anew whenever the book is built
        place = Place(name=self.arguments[0])
        self.set_source_info(place)
        return [place]


class ShowPictures(SphinxPostTransform):
    """Put the image of the named figure in its place."""

    default_priority = 5  # before images get their addresses

    def run(self, **kwargs) -> None:
        labels = self.env.get_domain("std").anonlabels
        for place in list(self.document.findall(Place)):
            page, name = labels.get(place["name"], ("", ""))
            images = self.images(page, name) if page else []
            if not images:
                logger = logging.getLogger(__name__)
                message = "no figure of a chapter has the name %s"
                logger.warning(message, place["name"], location=place)
            for image in images[:1]:
                image["classes"].append("picture")
            place.replace_self([boxed(image) for image in images[:1]])
        for figure in self.document.findall(nodes.figure):
            for image in list(figure.findall(nodes.image)):
                image.replace_self(boxed(image.deepcopy()))

    def images(self, page: str, name: str) -> list[nodes.Node]:
        return [
            image.deepcopy()
            for figure in self.env.get_doctree(page).findall(nodes.figure)
            if name in figure["ids"]
            for image in figure.findall(nodes.image)
        ]


def boxed(image: nodes.image) -> nodes.container:
    """Return the image in a box of its own."""
    return nodes.container("", image, classes=["picture-box"])


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.add_node(Place)
    app.add_directive("picture", Picture)
    app.add_post_transform(ShowPictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
