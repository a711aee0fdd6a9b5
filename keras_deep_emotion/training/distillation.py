"""Distillation: train on the predictions of other runs as well as on the labels.

Each target is a weighted mean of the data set's own target and the teachers' mean prediction for
the image and its mirror image. Sources: Hinton et al., "Distilling the Knowledge in a Neural
Network" (2015); Furlanello et al., "Born-Again Neural Networks" (2018).
"""

import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.starting import open_earlier_run


def teacher_runs(config: TrainConfig, labels: list[str]) -> list[Run]:
    """Open the teachers of a student: run folders or shipped weights, separated by commas.

    Raises:
        FileNotFoundError, ValueError: As `starting.open_earlier_run`, or if a teacher has other
            classes.
    """
    runs = []
    for name in config.teacher_names:
        run = open_earlier_run(name, config)
        if run.labels != list(labels):
            known, needed = ", ".join(run.labels), ", ".join(labels)
            raise ValueError(f"{name} knows the classes {known}; this run needs {needed}.")
        runs.append(run)
    return runs


def distillation_targets(
    faces: FaceArrays, labels: list[str], config: TrainConfig, run: Run
) -> FaceArrays:
    """Mix the teachers' predictions into the targets of the training split.

    The predictions, whose share is `config.teacher_share`, are saved in the run folder, so that the
    run can be resumed without its teachers. Without teachers, `faces` is returned.

    Raises:
        FileNotFoundError, ValueError: As `teacher_runs`, or if a teacher takes other image sizes.
    """
    if not config.teachers:
        return faces
    path = run / Run.TEACHERS
    if not path.exists():
        teachers = teacher_runs(config, labels)
        print(f"predicting {len(faces.images):,} faces by {config.teachers}", flush=True)
        predictions = [teacher_predictions(teacher, faces.images) for teacher in teachers]
        with atomic_write(path) as temporary:
            np.save(temporary, np.mean(predictions, axis=0, dtype=np.float32))
    try:
        predictions = np.load(path, allow_pickle=False)
        if predictions.shape != faces.targets.shape or predictions.dtype != np.float32:
            raise ValueError("it is of other images or classes")
    except (ValueError, EOFError, AttributeError) as error:  # the last for an archive
        message = f"{path} is damaged: {error}. Delete it, and the teachers predict again."
        raise ValueError(message) from None
    share = np.float32(config.teacher_share)
    return faces._replace(targets=(1 - share) * faces.targets + share * predictions)


def teacher_predictions(run: Run, images: np.ndarray) -> np.ndarray:
    """A run's mean prediction for each image and its mirror image: (count, classes) float32."""
    # Targets are probabilities; a balance is of answers.
    model = run.load_model(balance=0.0 if run.config.balance else None)
    if model.input.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"{run} takes faces of {model.input.shape[1]} pixels. Received: {images.shape[1]}"
        )
    return np.mean(
        [model.predict(x, batch_size=256, verbose=0) for x in (images, images[:, :, ::-1])], axis=0
    )
