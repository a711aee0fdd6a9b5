"""toon_faces with few pictures."""

import contextlib
from unittest import mock

from tfds_builders.toon_faces import toon_faces_dataset_builder as module

TAKES = 2  # pictures of each character and emotion: 84 in all


@contextlib.contextmanager
def few_toon_faces(takes=TAKES):
    """Within the context, toon_faces has so many pictures of each character and emotion."""
    few = {name: picture for name, picture in module.PICTURES.items() if picture[2] < takes}
    with mock.patch.object(module, "PICTURES", few):
        yield
