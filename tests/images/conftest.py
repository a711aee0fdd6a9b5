"""What tests of images share: a photo of a person."""

import pytest
from PIL import Image
from skimage import data


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut()).resize((96, 80))
