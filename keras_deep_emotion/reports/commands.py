"""The command that repeats a run."""

import dataclasses
import shlex
from typing import Any

from keras_deep_emotion.config import TrainConfig

WITHOUT_OPTION = ("image_size",)  # settings that `fit` has no option for


def fit_command(config: TrainConfig) -> str:
    """The shell command that trains with these settings, except those `WITHOUT_OPTION`.

    Example:
    >>> fit_command(TrainConfig.from_recipe("paper", dataset="ferg", flip=False, seed=2))
    'keras-deep-emotion fit --dataset ferg --recipe paper --no-flip --seed 2'
    """
    words = ["keras-deep-emotion", "fit", "--dataset", config.dataset, "--recipe", config.recipe]
    for name, value in changed_settings(config).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif name not in WITHOUT_OPTION:
            words += [f"--{option}", str(value)]
    return shlex.join(words)


def changed_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that differ from the recipe's, other than the data set."""
    recipe = TrainConfig.from_recipe(config.recipe, dataset=config.dataset)
    settings = dataclasses.asdict(config)
    return {name: value for name, value in settings.items() if value != getattr(recipe, name)}
