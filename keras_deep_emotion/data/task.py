"""What a model is trained and tested on: a data set, its variant, and how it is split.

Standard library only: the command line parses tasks before TensorFlow is imported.
"""

import dataclasses
import itertools
import shlex
from dataclasses import dataclass
from pathlib import Path

from keras_deep_emotion.config import protocol_name
from keras_deep_emotion.data.catalog import CATALOG, DatasetInfo


@dataclass(frozen=True)
class Task:
    """A data set with a variant of its labels or images, a protocol and a fold.

    Attributes:
        name: Data set, a key of `CATALOG`.
        variant: One of the data set's variants; None if it has none.
        protocol: How it is split: "standard", "subjects" or "deduplicated".
        fold: Fold to test on with protocol "subjects"; None otherwise, or for all folds.

    Example:
    >>> task = Task.parse("fer2013/original")
    >>> task.tfds_config, task.splits["test"], task.info.paper_accuracy
    ('original', 'test', 70.02)
    >>> Task.parse("jaffe", "subjects", fold=3).splits["validation"]
    'fold_4'
    """

    name: str
    variant: str | None = None
    protocol: str = "standard"
    fold: int | None = None

    @classmethod
    def parse(cls, dataset: str, protocol: str = "standard", fold: int | None = None) -> "Task":
        """Parse `name` or `name/variant` and check that protocol and fold exist.

        The default variant is filled in. User folders (`folder/NAME`) may have any variant.

        Raises:
            ValueError: If there is no such data set, variant, protocol or fold.
        """
        name, _, variant = dataset.partition("/")
        if name not in CATALOG:
            raise ValueError(f"There is no data set {name!r}; there are: {', '.join(CATALOG)}.")
        info, protocol = CATALOG[name], protocol_name(protocol)
        if not info.named_by_source and variant and variant not in info.variants:
            raise ValueError(_unknown_variant(name, variant))
        if protocol not in info.protocols:
            known = ", ".join(info.protocols)
            raise ValueError(f"{info.title} has no protocol {protocol!r}; it has: {known}.")
        if fold is not None and protocol != "subjects":
            raise ValueError(f"--fold requires --protocol subjects. Received: {protocol}")
        if fold is not None and not 0 <= fold < info.folds:
            raise ValueError(
                f"{info.title} has folds 0 to {info.folds - 1}. Received: --fold {fold}"
            )
        return cls(name, variant or next(iter(info.variants), None), protocol, fold)

    @classmethod
    def from_config(cls, config) -> "Task":
        """The task of a `TrainConfig`."""
        return cls.parse(config.dataset, config.protocol, config.fold)

    @property
    def info(self) -> DatasetInfo:
        """The data set's entry in the catalog."""
        return CATALOG[self.name]

    @property
    def dataset(self) -> str:
        """`name`, or `name/variant`."""
        return f"{self.name}/{self.variant}" if self.variant else self.name

    @property
    def tfds_config(self) -> str | None:
        """TFDS config that holds the splits of this variant and protocol."""
        if self.info.splits_in_one:
            return self.variant
        return f"{self.variant}_{self.protocol}" if self.variant else self.protocol

    @property
    def splits(self) -> dict[str, str]:
        """TFDS split expression of "train", "validation" and "test".

        With protocol "subjects", fold `fold` (0 if None) is the test split, the next fold is the
        validation split, and the others are the training split.
        """
        if self.protocol != "subjects":
            suffix = "_deduplicated" if self.protocol == "deduplicated" else ""
            return {"train": "train", **{one: one + suffix for one in ("validation", "test")}}
        folds, test = self.info.folds, self.fold or 0
        validation = (test + 1) % folds
        train = [f"fold_{i}" for i in range(folds) if i not in (test, validation)]
        names = {"validation": f"fold_{validation}", "test": f"fold_{test}"}
        return {"train": "+".join(train), **names}

    @property
    def is_all_folds(self) -> bool:
        """Whether the task means every fold of protocol "subjects"."""
        return self.protocol == "subjects" and self.fold is None

    def folds(self) -> list["Task"]:
        """One task for each fold; ValueError is raised if the protocol has none."""
        if self.protocol != "subjects":
            raise ValueError(f"--fold all requires --protocol subjects. Received: {self.protocol}")
        return [dataclasses.replace(self, fold=fold) for fold in range(self.info.folds)]

    @property
    def differences_from_paper(self) -> list[str]:
        """Clauses that say why accuracies do not compare with the paper's; empty if they do."""
        clauses, variants = [], self.info.variants
        if self.protocol != "standard":
            clauses.append(f"the protocol here is {self.protocol}")
        if variants and self.variant != variants[0]:
            own, theirs = self.variant, variants[0]
            clauses.append(f"the faces and labels here are {own}, the paper's {theirs}")
        return clauses

    def build_command(self, data_dir: str | Path | None = None) -> str:
        """The shell command that builds the data set."""
        # Variants of user folders are created by building them.
        is_default = self.variant == next(iter(self.info.variants), None)
        dataset = self.name if self.info.named_by_source or is_default else self.dataset
        command = f"keras-deep-emotion build-data {dataset}"
        if self.info.source:
            command += f" --source {self.info.source}"
        return command + (f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else "")


def _tasks(name):
    """Every task of a data set, without folds."""
    info = CATALOG[name]
    choices = itertools.product(info.variants or (None,), info.protocols)
    return [Task(name, variant, protocol) for variant, protocol in choices]


def _unknown_variant(name, variant):
    """Sentence for a variant that does not exist; a config or protocol name gets a hint."""
    known = ", ".join(f"{name}/{one}" for one in CATALOG[name].variants) or name
    message = f"There is no data set '{name}/{variant}'; there is: {known}."
    for task in _tasks(name):
        if _config_name(variant) in (task.protocol, task.tfds_config):
            return (
                f"{message} The data set is {task.dataset}, {task.protocol!r} its protocol "
                f"(fit --protocol {task.protocol})."
            )
    return message


def _config_name(text):
    """A TFDS config by a name whose protocol may be an alias."""
    *variant, protocol = text.rpartition("_")
    return "".join([*variant, protocol_name(protocol)])


def parse_build_target(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse the argument of `build-data`: `name`, `name/variant` or `name/config`.

    Returns `name` and the TFDS configs to build. Without a variant or config, they are those of
    every protocol of the default variant, or of every variant if one config holds all protocols.
    For user folders they are empty: the config depends on the source.

    Raises:
        ValueError: If there is no such data set or config.
    """
    name, _, part = text.partition("/")
    info = Task.parse(name).info
    if info.named_by_source:
        if part:
            raise ValueError(f"--source names the config of {name}: {name}, without /{part}.")
        return name, ()
    configs = {task.tfds_config: task.variant for task in _tasks(name)}
    part = _config_name(part)
    if part in configs:
        return name, (part,)
    if not part and info.splits_in_one:
        return name, tuple(configs)
    chosen_variant = part or next(iter(info.variants), None)
    chosen = tuple(config for config, variant in configs.items() if variant == chosen_variant)
    if not chosen:
        known = ", ".join(f"{name}/{one}" for one in info.variants or configs)
        raise ValueError(f"There is no data set {text!r}; there is: {known}.")
    return name, chosen


def check_source(path: Path | None, name: str) -> None:
    """Check the source of a data set, by its name, if one is given.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If the data set needs none.
    """
    if path is not None and not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name what you obtained with --source.")
    if path is not None and not CATALOG[name].source:
        raise ValueError(
            f"{name} takes no --source: {CATALOG[name].obtain}. Leave --source out, or name "
            "another data set: folder is for your own pictures."
        )
