"""Distillation: a run learns from the answers of others to its training faces.

Of each face the target is in part what the data set says and in part the mean of what the teachers
say of it and of its mirror image: which emotions are alike, and which labels are doubtful. Sources:
Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Furlanello et al., "Born-Again
Neural Networks" (2018).
"""

from pathlib import Path

import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.datasets import DATASETS, parse_dataset, role_splits, tfds_config
from keras_deep_emotion.files import written_whole
from keras_deep_emotion.runs import open_run, refuse_without, shipped_weights, weights_dir

TEACHERS = "teachers.npy"  # in a run's folder: what they say


def teacher_dirs(config, labels):
    """Run folders of the teachers that a configuration names.

    Args:
        config: `TrainConfig`; `teachers` holds run folders, or names of weights that come with the
            package, with commas between.
        labels: names of the classes that they are asked for.

    Returns:
        List of Path.

    Raises:
        FileNotFoundError: one is no finished run.
        ValueError: one has other classes; or one learnt from other faces of the same data set than
            this run will: it may know those that this run is to be judged on.
    """
    folders = []
    for name in filter(None, map(str.strip, (config.teachers or "").split(","))):
        folder = weights_dir(name) if name in shipped_weights() else Path(name)
        for part in ("config.json", "labels.txt", "model.keras"):
            refuse_without(folder, part)
        if not may_teach(TrainConfig.from_json(folder / "config.json"), config):
            title = DATASETS[parse_dataset(config.dataset)[0]].title
            raise ValueError(
                f"{name} learnt from other faces of {title} than this run will, and may know those "
                "that it is to be judged on. Name a teacher of the same protocol and fold."
            )
        theirs = (folder / "labels.txt").read_text().split()
        if theirs != list(labels):
            raise ValueError(
                f"{name} knows the classes {', '.join(theirs)}; this run needs {', '.join(labels)}."
            )
        folders.append(folder)
    return folders


def may_teach(teacher, config):
    """Whether a run of settings saw no face that one of others is judged on, both `TrainConfig`."""
    name, variant = parse_dataset(config.dataset)
    theirs, their_variant = parse_dataset(teacher.dataset)
    if theirs != name:
        return True
    if DATASETS[name].named_by_source and variant != their_variant:  # other pictures, or the same
        return False
    trained = [role_splits(name, one.protocol, one.fold)["train"] for one in (teacher, config)]
    if DATASETS[name].splits_in_one:  # other labels of the same split
        return trained[0] == trained[1]
    configs = [
        tfds_config(name, one, settings.protocol)
        for one, settings in ((their_variant, teacher), (variant, config))
    ]
    return trained[0] == trained[1] and configs[0] == configs[1]


def taught(faces, labels, config, run_dir):
    """Faces with the answers of a configuration's teachers in their targets.

    The answers are kept in `run_dir` as teachers.npy, so that a run that is taken up again learns
    the same, also where its teachers have gone.

    Args:
        faces: `data.Faces` to train on.
        labels: names of the classes.
        config: `TrainConfig`; of the targets, `teacher_share` becomes the answers.
        run_dir: folder of the run.

    Returns:
        `data.Faces`; the same where there are no teachers.

    Raises:
        ValueError: a teacher has another size of faces; or as `teacher_dirs`.
        FileNotFoundError: as `teacher_dirs`.
    """
    if not config.teachers:
        return faces
    path = Path(run_dir) / TEACHERS
    if not path.exists():
        answers = [answers_of(folder, faces.images) for folder in teacher_dirs(config, labels)]
        with written_whole(path) as aside:
            np.save(aside, np.mean(answers, axis=0, dtype=np.float32))
    share = np.float32(config.teacher_share)
    return faces._replace(targets=(1 - share) * faces.targets + share * np.load(path))


def answers_of(folder, images):
    """What a run says of faces, averaged with what it says of their mirror images.

    Args:
        folder: the run's.
        images: (count, size, size, 1) float32 grey levels 0..255.

    Returns:
        (count, classes) float32.
    """
    _, model, _ = open_run(folder)
    if model.input.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"{folder} takes faces of {model.input.shape[1]} pixels. Received: {images.shape[1]}"
        )
    sides = (images, images[:, :, ::-1])
    return np.mean([model.predict(side, batch_size=256, verbose=0) for side in sides], axis=0)
