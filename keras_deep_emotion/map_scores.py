"""How right the maps of a run are, measured on faces of its test split, and what they share."""

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion import faithfulness
from keras_deep_emotion import report as reports
from keras_deep_emotion.data import examples
from keras_deep_emotion.explanation import explain_faces
from keras_deep_emotion.files import written_whole
from keras_deep_emotion.predict import Model
from keras_deep_emotion.runs import judged_split
from keras_deep_emotion.saliency import filled, window_starts

PARTS = ("mouth", "eyes", "brows")  # boxes that toon_faces has
RANDOMISED = 48  # faces whose maps are drawn again with scrambled weights


def sampled_examples(builder, split, size, count):
    """Faces evenly spread over a split: list of examples, as from `data.examples`.

    Args:
        builder: what `data.built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        count: how many; all, if the split has no more.

    Raises:
        ValueError: `count` is below 2, or the split has fewer than 2.
    """
    faces = list(examples(builder, split, size))
    if min(count, len(faces)) < 2:
        raise ValueError(f"Scores need 2 faces or more. Received: {min(count, len(faces))}")
    return [faces[i] for i in np.unique(np.linspace(0, len(faces) - 1, count).astype(int))]


def part_boxes(example):
    """Boxes of the parts that make the emotion, in shares of the cropped face: (3, 4) float32."""
    face = example["face"].numpy()
    parts = np.stack([example[part].numpy() for part in PARTS])
    corner, side = face[:2], face[2:] - face[:2]
    return (parts - np.tile(corner, 2)) / np.tile(side, 2)


def score_maps(
    model, config, data_dir, output, faces=200, window=8, stride=2, filling="zero", seed=0
):
    """Measure whether a run's maps are right, on faces of its test split.

    Writes faithfulness.json, and mean_saliency.png: what the maps of each answer have in common.

    Args:
        model: `predict.Model` of a run.
        config: its `TrainConfig`.
        data_dir: where the data sets are built, None for TFDS's own place.
        output: folder for the file, made if it is not there.
        faces: how many, evenly spread over the split.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.
        filling: what hidden pixels become, see `saliency.filled`.
        seed: of the random maps and the scrambled weights.

    Returns:
        dict, as it is written: `faces`, `dataset`, `split`, `window`, `stride`, `filling`;
        `scores`, see `faithfulness.faithfulness`, of the class that the model answers; and
        `randomisation`: for each share of the layers whose weights are scrambled, from the output
        on, the rank correlation of the maps with those of the trained weights (`mean`, `interval`,
        on at most 48 faces): a map that does not change shows the face, not the model; `regions`:
        where the maps of each answer lie, see `faithfulness.mean_maps`.

    Raises:
        ValueError: windows do not fit, or there are too few faces.
    """
    window_starts(model.size, window, stride)
    builder, split = judged_split(config, data_dir)
    chosen = sampled_examples(builder, split, model.size, faces)
    images = np.stack([example["image"].numpy() for example in chosen])
    classify = tf.function(
        model.classify,
        input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.float32)],
        autograph=False,
    )

    def predict(batch):
        parts = [classify(batch[i : i + 256].astype(np.float32)) for i in range(0, len(batch), 256)]
        return np.concatenate(parts)

    found = explain_faces(model, images, None, window, stride, filling)
    has_parts = all(part in builder.info.features for part in PARTS)
    some = images[:RANDOMISED]
    result = {
        "dataset": builder.info.full_name,
        "split": split,
        "faces": len(images),
        "window": window,
        "stride": stride,
        "filling": filling,
        "scores": faithfulness.faithfulness(
            predict,
            images,
            filled(tf.constant(images), "blur", window).numpy(),
            found.saliency,
            found.class_id,
            window,
            np.stack([part_boxes(example) for example in chosen]) if has_parts else None,
            seed,
        ),
        "randomisation": {
            name: faithfulness.mean_and_interval(
                faithfulness.likeness(
                    found.saliency[: len(some)],
                    explain_faces(
                        with_layers_scrambled(model, share, seed),
                        some,
                        found.class_id[: len(some)],
                        window,
                        stride,
                        filling,
                    ).saliency,
                )
            )
            for name, share in (("last layer", 0.0), ("upper half", 0.5), ("all layers", 1.0))
        },
    }
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    common = faithfulness.mean_maps(found.saliency, found.class_id, model.labels)
    mean_faces = {
        name: images[found.class_id == model.labels.index(name)].mean(axis=0)[..., 0]
        for name in common
    }
    result["regions"] = {
        name: {part: value for part, value in one.items() if part != "map"}
        for name, one in common.items()
    }
    with written_whole(output / "faithfulness.json") as aside:
        aside.write_text(json.dumps(result, indent=2) + "\n")
    picture = output / "mean_saliency.png"
    picture.unlink(missing_ok=True)  # an earlier score's
    if common:
        reports.mean_maps_figure(mean_faces, common).savefig(picture, dpi=120)
    return result


def with_layers_scrambled(model, share, seed):
    """A copy of a model whose weights are in another order, from the output backwards.

    Args:
        model: `predict.Model` of a Keras model, which stays as it is.
        share: of the layers that have weights; the last one always.
        seed: of the order.

    Returns:
        `predict.Model`.
    """
    copy = keras.models.clone_model(model.keras)
    copy.set_weights(model.keras.get_weights())
    layers = [layer for layer in copy.layers if layer.weights]
    for layer in layers[-max(1, round(share * len(layers))) :]:
        layer.set_weights(faithfulness.scrambled(layer.get_weights(), seed))
    return Model(model.labels, model.size, lambda faces: copy(faces, training=False), None, copy)
