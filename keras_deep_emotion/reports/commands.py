"""Commands that repeat a run."""

import dataclasses
import shlex

from keras_deep_emotion.config import TrainConfig

# What `fit` has no option for.
WITHOUT_OPTION = ("image_size",)


def fit_command(config):
    """The command that trains with these settings: what differs from the recipe's, and no more.

    Args:
        config: `TrainConfig`. Its `image_size` is not in it: `fit` has no option for that.

    Returns:
        One line for a shell, `python cli.py fit --dataset ...`.
    """
    words = ["python", "cli.py", "fit", "--dataset", config.dataset, "--recipe", config.recipe]
    for name, value in changed_settings(config).items():
        option = name.replace("_", "-")
        if name in WITHOUT_OPTION:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)


def changed_settings(config):
    """{name: value} of the settings that differ from the recipe's, but for the data set."""
    recipe = TrainConfig.from_recipe(config.recipe, dataset=config.dataset)
    settings = dataclasses.asdict(config)
    return {name: value for name, value in settings.items() if value != getattr(recipe, name)}
