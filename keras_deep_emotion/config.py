"""Training settings: one frozen table, its recipes, JSON in and out."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

RECIPES = ("paper",)
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """All that decides what a training run does; the run folder keeps it as config.json.

    Values from the paper carry their section; the rest, which the paper leaves out, are marked
    `ours`.
    """

    dataset: str = "toon_faces"  # name or name/variant, see `datasets`
    protocol: str = "paper"  # how it is split
    fold: int | None = None  # fold to test on, protocol `subjects` only
    recipe: str = "paper"
    epochs: int = 500  # paper, IV-B
    batch_size: int = 128  # ours
    learning_rate: float = 0.005  # paper, IV-B (Adam)
    regularization: float = 0.0005  # ours: lambda; the paper tunes it and does not tell it
    dropout: float = 0.3  # ours
    image_size: int = 48  # paper, III: faces of 48 x 48, pixels
    theta_reach: float = 0.5  # ours: largest change of a number of the affine transform
    theta_rate: float = 0.03  # ours: learning rate of the transform, in shares of that of the rest
    flip: bool = True  # paper, IV-B names flips and rotations; amounts are ours
    rotation: float = 10.0  # ours: degrees either way
    zoom: float = 0.1  # ours: share of the size either way
    shift: float = 0.08  # ours: share of the side either way
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        """Refuse settings that no run can have."""
        checks = {
            "recipe": (self.recipe in RECIPES, f"one of {', '.join(RECIPES)}"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "regularization": (self.regularization >= 0, "0 or more"),
            "dropout": (0 <= self.dropout < 1, "0 or more and below 1"),
            "theta_reach": (self.theta_reach > 0, "above 0"),
            "theta_rate": (self.theta_rate > 0, "above 0"),
            "seed": (0 <= self.seed < 2**31, "between 0 and 2147483647"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"{name} must be {expected}. Received: {getattr(self, name)}")

    def to_json(self) -> str:
        """The settings as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """Read the settings of a run.

        Raises:
            ValueError: the file is no JSON object of these settings.
        """
        try:
            return cls(**json.loads(Path(path).read_text()))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            raise ValueError(f"{path} does not hold the settings of a run: {error}.") from None
