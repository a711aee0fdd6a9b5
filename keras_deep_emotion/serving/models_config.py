"""`models.config`, TensorFlow Serving's list of models."""

from pathlib import Path, PurePosixPath

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_deep_emotion.exports import Export
from keras_deep_emotion.files import write_text

CONTAINER_ROOT = "/models"  # where compose.yaml mounts the folder of all exports


def write_models_config(parent):
    """Bring `models.config`, the server's list of models, in step with the folders beside it.

    A model that came is added and one that went is removed; what a user wrote of the others, labels
    of versions, say, stays, and where no model comes or goes the file is not touched.

    Args:
        parent: folder of all exports.

    Raises:
        ValueError: what stands in it is no list of models.
    """
    path = Path(parent) / "models.config"
    # More than once: another's export may end meanwhile.
    while (config := models_config(parent)) != read_models_config(path):
        write_text(path, text_format.MessageToString(config))


def models_config(parent):
    """What `models.config` is to hold for what stands in `parent` now, a ModelServerConfig.

    Raises:
        ValueError: as `write_models_config`.
    """
    config = read_models_config(Path(parent) / "models.config") or ModelServerConfig()
    models = config.model_config_list.config
    folders = {
        f"{CONTAINER_ROOT}/{folder.name}": folder.name
        for folder in sorted(Path(parent).iterdir())
        if folder.is_dir() and Export(folder).versions()
    }

    def place(model):
        return PurePosixPath(model.base_path)  # with or without / at its end

    # Elsewhere than below this folder is the user's own.
    kept = [
        model
        for model in models
        if str(place(model)) in folders or str(place(model).parent) != CONTAINER_ROOT
    ]
    listed = {str(place(model)) for model in kept}
    del models[:]
    models.extend(kept)
    for base_path, name in folders.items():
        if base_path not in listed:
            models.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def read_models_config(path):
    """What a `models.config` holds, a ModelServerConfig; None where there is none.

    Raises:
        ValueError: it is no list of models.
    """
    try:
        return text_format.Parse(Path(path).read_text(), ModelServerConfig())
    except FileNotFoundError:
        return None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no list of models ({error}); mend it, or remove it and export again: the "
            "list is then made anew."
        ) from None
