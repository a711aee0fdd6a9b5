"""What the container of TensorFlow Serving reads beside the models: its list, and settings."""

from pathlib import Path, PurePosixPath

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_deep_emotion.exports import Export
from keras_deep_emotion.files import read_text, write_text

LARGEST = 2**20  # ours, bytes: the parser takes a second for them
COMPOSE = Path(__file__).parent / "compose"  # those of exports/
CONTAINER_ROOT = "/models"  # where compose.yaml mounts the folder of all exports


def write_models_config(parent: str | Path) -> None:
    """Add new models to the `models.config` of a folder of exports, and remove those that are gone.

    Everything else that a user wrote, such as version labels, stays; if no model comes or goes, the
    file is not written. Raises ValueError if the file is not a list of models.
    """
    path = Path(parent) / "models.config"
    # Repeat: another export may finish meanwhile.
    while (config := updated_models_config(parent)) != read_models_config(path):
        write_text(path, text_format.MessageToString(config))


def updated_models_config(parent: str | Path) -> ModelServerConfig:
    """The `models.config` of a folder of exports, updated to its models; nothing is written."""
    config = read_models_config(Path(parent) / "models.config") or ModelServerConfig()
    models = config.model_config_list.config
    names = {
        PurePosixPath(CONTAINER_ROOT, folder.name): folder.name
        for folder in sorted(Path(parent).iterdir())
        if folder.is_dir() and Export(folder).versions()
    }
    listed = {PurePosixPath(model.base_path) for model in models}  # drops a trailing /
    for model in list(models):
        path = PurePosixPath(model.base_path)
        if path not in names and path.parent == PurePosixPath(CONTAINER_ROOT):
            models.remove(model)
    for path in sorted(names.keys() - listed):
        models.add(name=names[path], base_path=str(path), model_platform="tensorflow")
    return config


def write_compose(parent: str | Path) -> list[Path]:
    """Write compose.yaml and its settings beside the models; files that exist stay.

    Returns the paths of those that were written.
    """
    written = []
    for source in sorted(COMPOSE.iterdir()):
        path = Path(parent) / source.name
        if not path.exists():
            write_text(path, read_text(source))
            written.append(path)
    return written


def read_models_config(path: str | Path) -> ModelServerConfig | None:
    """Read a `models.config`; return None if the file does not exist."""
    try:
        return text_format.Parse(read_text(path, LARGEST), ModelServerConfig())
    except FileNotFoundError:
        return None
    except (text_format.ParseError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a list of models ({str(error)[:200]}). Correct it, or delete it and "
            "export again, which writes a new one."
        ) from None
