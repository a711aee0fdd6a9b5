"""Training settings and recipes, and reading and writing them as JSON."""

import dataclasses
import json
import typing
from dataclasses import dataclass
from pathlib import Path

from keras_deep_emotion.files import check_schema, read_json

# Of `layers.camera`, which takes seconds to import.
CAMERA_CHANGES = ("blur", "resolution", "light", "noise", "compression")
NETWORKS = ("wide", "residual", "paper", "resnet50")
OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
LARGEST = 2**31 - 1  # ours: of any number among the settings
SMALLEST = 18  # pixels: of a face that the paper's localization network can take
REMEDY = "Correct the file, restore it from a copy, or train again in another folder."
# Settings of each recipe that differ from the defaults below, which are those of `best`.
RECIPES = {
    "best": {},
    "paper": {
        "network": "paper",
        "width": 10,  # paper, III: filters of each convolution
        "epochs": 500,  # paper, IV-B
        "optimizer": "adam",  # paper, IV-B
        "learning_rate": 0.005,  # paper, IV-B
        "theta_rate": 0.03,  # ours: Adam's steps are large
        "alignment": 0.0,  # the paper has no such loss
        # ours: the paper names no schedule. At a constant rate, validation accuracy varies by two
        # percent from epoch to epoch and is three percent lower.
        "cosine": True,
        # ours: Adam's first steps at the full rate kill units, which ones depends on the seed; with
        # 0, as in the paper, three seeds differ three times as much (benchmarks/RESULTS.md).
        "warmup": 1.0,
        "weight_decay": 0.0,
        "average": 0.0,
        "regularization": 0.0005,  # ours: lambda, which the paper tunes and does not report
        # ours: the paper gives no amounts. 67 thousand parameters do not allow more.
        "dropout": 0.1,
        "rotation": 5.0,
        "zoom": 0.05,
        "shift": 0.04,
        "soft_labels": False,
        "label_smoothing": 0.0,
        "cutout": 0.0,
    },
    # ours: to go on from other weights, see `training.starting`
    "finetune": {"epochs": 12, "learning_rate": 0.02, "warmup": 1.0, "alignment": 0.0},
}


def protocol_name(name: str) -> str:
    """The protocol that a name stands for: "paper" is an alias of "standard"."""
    return "standard" if name == "paper" else name


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run, saved as config.json in its folder.

    The defaults are those of the recipe `best`; `from_recipe` returns others. Values from the paper
    are marked with its section, our own with `ours`.
    """

    dataset: str = "toon_faces"  # name or name/variant, see `data.catalog`
    protocol: str = "standard"  # how to split it, see `data.task`
    fold: int | None = None  # to test on, with protocol "subjects"
    recipe: str = "best"
    start: str | None = None  # ours: a run or shipped weights, see `training.starting`
    # ours: of the start's weights in those that are kept (Wortsman et al., 2022)
    start_share: float = 0.0
    # Network
    network: str = "wide"  # see `models.deep_emotion`
    width: int = 40  # ours: channels of the first convolution
    transformer: bool = True  # paper, III; off for ablation
    theta_reach: float = 0.5  # ours: largest change of each parameter of the transform
    theta_rate: float = 0.1  # ours: learning rate of the transform, relative to the rest
    alignment: float = 5.0  # ours: weight of `layers.AlignmentLoss`, with a transformer
    dropout: float = 0.3  # ours
    image_size: int = 48  # paper, III: pixels
    # Optimization
    epochs: int = 40  # ours
    batch_size: int = 128  # ours
    optimizer: str = "sgd"  # ours: momentum 0.9; better than the paper's Adam in short trials
    learning_rate: float = 0.2  # ours: after warm-up
    warmup: float = 3.0  # ours: epochs in which the learning rate rises from 0
    cosine: bool = True  # ours: decay the learning rate to 0 along half a cosine
    weight_decay: float = 0.005  # ours: decoupled (Loshchilov & Hutter, 2019), times the rate
    average: float = 1.0  # ours: epochs over which weights are averaged; 0: no averaging
    # ours: recompute batch normalization statistics from unaugmented images
    fresh_statistics: bool = True
    regularization: float = 0.0  # paper, III: lambda, of the dense layers' squared L2 norm
    # Targets
    soft_labels: bool = True  # ours: the distribution of votes, if a data set has votes
    label_smoothing: float = 0.05  # ours: if it has none
    teachers: str | None = None  # ours: runs to learn from, see `training.distillation`
    teacher_share: float = 0.5  # ours: weight of their predictions in the targets
    # ours: of the answers, not of training; see `models.operating_point`
    balance: float = 0.0
    class_balance: float = 0.0  # ours: faces are weighted by class frequency to minus this power
    # Augmentation
    flip: bool = True  # paper, IV-B names flips and rotations; amounts are ours
    rotation: float = 10.0  # ours: degrees in either direction
    zoom: float = 0.1  # ours: largest relative change of size
    shift: float = 0.08  # ours: fraction of the side in either direction
    cutout: float = 0.25  # ours: largest side of the hidden square, fraction of the side
    camera: float = 0.0  # ours: strength of blur, noise and others, see `layers.camera`
    camera_changes: str = ",".join(CAMERA_CHANGES)
    mixup: float = 0.0  # ours: parameter of the Beta distribution of shares
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        """Check the type and range of each setting."""
        check_schema(vars(self), SCHEMA)
        object.__setattr__(self, "protocol", protocol_name(self.protocol))
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and abs(value) > LARGEST:
                raise ValueError(f"{name} must be at most {LARGEST}. Received: {value}")
        checks = {
            "recipe": (self.recipe in RECIPES, f"one of {', '.join(RECIPES)}"),
            "network": (self.network in NETWORKS, f"one of {', '.join(NETWORKS)}"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "width": (1 <= self.width <= 4096, "between 1 and 4096"),
            "image_size": (SMALLEST <= self.image_size <= 512, f"between {SMALLEST} and 512"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "warmup": (self.warmup >= 0, "0 or more"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "average": (self.average >= 0, "0 or more"),
            "regularization": (self.regularization >= 0, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 or more and below 1"),
            "start_share": (0 <= self.start_share < 1, "0 or more and below 1"),
            "teacher_share": (0 <= self.teacher_share <= 1, "between 0 and 1"),
            "balance": (0 <= self.balance <= 1, "between 0 and 1"),
            "class_balance": (0 <= self.class_balance <= 1, "between 0 and 1"),
            "rotation": (0 <= self.rotation <= 180, "between 0 and 180"),
            "zoom": (0 <= self.zoom <= 0.99, "between 0 and 0.99"),
            "shift": (0 <= self.shift <= 1, "between 0 and 1"),
            "cutout": (0 <= self.cutout <= 1, "between 0 and 1"),
            "camera": (0 <= self.camera <= 1, "between 0 and 1"),
            "camera_changes": (
                set(self.camera_changes.split(",")) <= set(CAMERA_CHANGES),
                f"names among {', '.join(CAMERA_CHANGES)}, separated by commas",
            ),
            "mixup": (self.mixup >= 0, "0 or more"),
            "dropout": (0 <= self.dropout < 1, "0 or more and below 1"),
            "teachers": (self.teachers is None or self.teacher_names, "names of runs"),
            # Coordinates go from -1 to 1: a shift of 2 leaves the picture.
            "theta_reach": (0 < self.theta_reach <= 2, "above 0 and at most 2"),
            "theta_rate": (0 < self.theta_rate <= 10, "above 0 and at most 10"),
            "alignment": (0 <= self.alignment <= 1000, "between 0 and 1000"),
            "seed": (0 <= self.seed < 2**31, "between 0 and 2147483647"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"{name} must be {expected}. Received: {getattr(self, name)}")

    @classmethod
    def from_recipe(cls, recipe: str = "best", **changes) -> "TrainConfig":
        """The settings of a recipe, with changes; ValueError is raised if one is out of range."""
        check_schema({"recipe": recipe}, {"recipe": str})
        if recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}. Received: {recipe}")
        return cls(**{"recipe": recipe, **RECIPES[recipe], **changes})

    @property
    def teacher_names(self) -> list[str]:
        """The teachers, which commas separate; a folder that exists may have commas in its name."""
        names, parts = [], (self.teachers or "").split(",")
        while parts:
            heads = {count: ",".join(parts[:count]).strip() for count in range(len(parts), 0, -1)}
            count = next((one for one in heads if heads[one] and Path(heads[one]).is_dir()), 1)
            names.append(heads[count])
            del parts[:count]
        return [name for name in names if name]

    def to_json(self) -> str:
        """The settings as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """Read the settings of a run; raise ValueError if the file does not hold them."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist.")
        try:
            values = read_json(path, {})
            unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
            if unknown:
                raise ValueError(f"there is no setting {min(unknown)!r}.")
            return cls.from_recipe(**values)
        except ValueError as error:
            reason = str(error).removeprefix(f"{path} is damaged: ").rstrip(".")
            message = f"{path} does not hold the settings of a run: {reason}. {REMEDY}"
            raise ValueError(message) from None


SCHEMA = {  # of config.json, see `files.check_schema`
    field.name: (*typing.get_args(field.type)[:1], None)
    if typing.get_args(field.type)
    else field.type
    for field in dataclasses.fields(TrainConfig)
}
