"""Runs on whichever Keras backend is active; test_backends.py runs it on JAX too."""

import keras
import numpy as np
import pytest

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.layers.augmentation import RandomAffine
from keras_deep_emotion.layers.spatial_transformer import IDENTITY
from keras_deep_emotion.models.deep_emotion import build_model, channel_attention
from keras_deep_emotion.models.folding import fold_batch_normalization

on_one_backend = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same on all backends, or slow to compile"
)


@pytest.fixture
def faces():
    return np.random.default_rng(0).uniform(0, 255, (5, 48, 48, 1)).astype(np.float32)


@pytest.fixture
def policy():
    """Lets a test set the dtype policy and puts it back."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@on_one_backend
def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"set_image_data_format\('channels_last'\)"):
            build_model(TrainConfig())
    finally:
        keras.config.set_image_data_format("channels_last")


@on_one_backend
def test_parameter_count_is_the_papers_sum():
    localisation = (7 * 7 * 1 + 1) * 8 + (5 * 5 * 8 + 1) * 10
    localisation += (8 * 8 * 10 + 1) * 32 + (32 + 1) * 6
    features = (3 * 3 * 1 + 1) * 10 + 3 * (3 * 3 * 10 + 1) * 10
    head = (9 * 9 * 10 + 1) * 50 + (50 + 1) * 7
    assert (
        build_model(TrainConfig.from_recipe("paper")).count_params()
        == localisation + features + head
        == 66_857
    )


def test_probabilities_sum_to_one_and_repeat(faces):
    model = build_model(TrainConfig.from_recipe("paper", dropout=0.9))
    first = model.predict(faces, verbose=0)
    assert first.shape == (5, 7)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    # Dropout is off: the same image gives the same answer, also from its own batch.
    np.testing.assert_array_equal(model.predict(faces, verbose=0), first)
    np.testing.assert_allclose(model.predict(faces[:1], verbose=0), first[:1], atol=1e-6)


def test_dropout_is_on_in_training(faces):
    model = build_model(TrainConfig.from_recipe("paper", dropout=0.5))
    one, two = (keras.ops.convert_to_numpy(model(faces, training=True)) for _ in range(2))
    assert not np.array_equal(one, two)


def test_starts_by_attending_to_the_whole_face(faces):
    model = build_model(TrainConfig.from_recipe("paper"))
    parts = keras.Model(model.input, [model.get_layer(n).output for n in ("scaled", "attended")])
    scaled, attended = parts.predict(faces, verbose=0)
    np.testing.assert_allclose(scaled, faces / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(attended, scaled)


def test_initial_weights_are_normal_with_the_papers_spread():
    keras.utils.set_random_seed(0)
    model = build_model(TrainConfig.from_recipe("paper"))
    kernels = {
        layer.name: layer.get_weights()[0].ravel()
        for layer in model.layers
        if layer.get_weights() and getattr(layer, "units", None) != 6
    }
    assert len(kernels) == 9
    drawn = np.concatenate(list(kernels.values()))
    assert drawn.std() == pytest.approx(0.05, rel=0.01)
    assert abs(drawn.mean()) < 0.001
    starts = {tuple(kernel[:5]) for kernel in kernels.values()}
    assert len(starts) == 9  # no two layers drew the same numbers


def test_penalty_is_lambda_times_the_last_two_layers_squared_norm():
    model = build_model(TrainConfig.from_recipe("paper", regularization=0.25))
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-2:]
    assert [layer.units for layer in dense] == [50, 7]
    norm = sum((layer.get_weights()[0] ** 2).sum() for layer in dense)
    assert float(sum(model.losses)) == pytest.approx(0.25 * norm, rel=1e-5)


def test_saved_and_loaded_gives_the_same(faces, tmp_path):
    model = build_model(TrainConfig.from_recipe("paper"))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for count in (1, 5):
        np.testing.assert_array_equal(
            again.predict_on_batch(faces[:count]), model.predict_on_batch(faces[:count])
        )


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_close_and_gives_float32(faces, policy, name):
    exact = build_model(TrainConfig.from_recipe("paper"))
    policy(name)
    mixed = build_model(TrainConfig.from_recipe("paper"))
    mixed.set_weights(exact.get_weights())
    got = mixed.predict_on_batch(faces)
    assert got.dtype == np.float32
    assert mixed.get_layer("theta").output.dtype == "float32"
    convolutions = [one for one in mixed.layers if isinstance(one, keras.layers.Conv2D)]
    assert {one.compute_dtype for one in convolutions} == {name.removeprefix("mixed_")}
    np.testing.assert_allclose(got, exact.predict_on_batch(faces), atol=0.02)


def test_four_images_can_be_overfitted_and_the_transformer_learns():
    keras.utils.set_random_seed(3)
    faces = np.random.default_rng(1).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    labels = np.array([0, 3, 5, 6])
    model = build_model(TrainConfig.from_recipe("paper", dropout=0.0))
    scores = keras.Model(model.input, model.get_layer("logits").output)
    image = keras.Input((48, 48, 1))
    trainer = keras.Model(image, scores(RandomAffine(flip=False, shift=0.0)(image)))
    trainer.compile(
        keras.optimizers.Adam(0.003),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=keras.backend.backend() == "jax",  # slow on TensorFlow, faster on JAX
    )
    trainer.fit(faces, labels, batch_size=4, epochs=80, verbose=0)
    assert (model.predict(faces, verbose=0).argmax(axis=1) == labels).all()
    transforms = keras.Model(model.input, model.get_layer("theta").output)
    assert np.abs(transforms.predict(faces, verbose=0) - IDENTITY).max() > 1e-3


@on_one_backend
def test_the_wide_network_has_fewer_than_ten_layers_on_the_feature_path():
    model = build_model(TrainConfig.from_recipe("best", width=24))
    conv = lambda size, before, after: size * size * before * after  # noqa: E731
    widths = (24, 24, 48, 48, 96, 96, 192, 192)
    kernels = conv(3, 1, 24) + sum(
        conv(3, before, after) for before, after in zip(widths, widths[1:], strict=False)
    )
    features = kernels + 4 * sum(widths) + (192 + 1) * 7  # normalisation keeps four a channel
    localisation = conv(5, 1, 16) + conv(3, 16, 32) + 4 * (16 + 32)
    localisation += (6 * 6 * 32 + 4) * 32 + (32 + 1) * 6
    assert model.count_params() == features + localisation
    assert build_model(TrainConfig.from_recipe("best")).count_params() < 2_000_000
    names = [layer.name for layer in model.layers]
    after = model.layers[names.index("attended") :]
    weighted = [one for one in after if isinstance(one, keras.layers.Conv2D | keras.layers.Dense)]
    assert len(weighted) == 9 < 10


@on_one_backend
def test_the_residual_network_has_as_few_on_its_path_and_little_beside_it():
    wide = build_model(TrainConfig(width=24))
    model = build_model(TrainConfig(width=24, network="residual"))
    # Beside the path: 1 x 1 convolutions past three stages, and two dense layers in each.
    past = sum(before * after + 4 * after for before, after in ((24, 48), (48, 96), (96, 192)))
    squeezed = ((24, 3), (48, 6), (96, 12), (192, 24))
    attention = sum((many + 1) * few + (few + 1) * many for many, few in squeezed)
    assert model.count_params() == wide.count_params() + past + attention
    assert build_model(TrainConfig(network="residual")).count_params() < 2_000_000
    kernels = [one.kernel_size for one in model.layers if isinstance(one, keras.layers.Conv2D)]
    assert kernels.count((3, 3)) == 8 + 1  # and one of the localisation
    assert kernels.count((1, 1)) == 3


def test_channel_attention_scales_each_channel_by_a_share_of_the_whole_image():
    image = keras.Input((2, 2, 2))
    model = keras.Model(image, channel_attention(image))
    squeeze, excite = (one for one in model.layers if isinstance(one, keras.layers.Dense))
    squeeze.set_weights([np.array([[2.0], [-1.0]]), np.array([0.5])])
    excite.set_weights([np.array([[1.0, -1.0]]), np.array([0.0, 0.25])])
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)  # means 3 and 4
    squeezed = 2 * 3 - 4 + 0.5
    shares = 1 / (1 + np.exp([-squeezed, squeezed - 0.25]))
    np.testing.assert_allclose(model.predict(x, verbose=0), x * shares, rtol=1e-5)
    squeeze.set_weights([np.array([[-2.0], [-1.0]]), np.array([0.5])])  # below 0: nothing passes
    shares = 1 / (1 + np.exp([0, -0.25]))
    np.testing.assert_allclose(model.predict(x, verbose=0), x * shares, rtol=1e-5)


def test_networks_for_the_ablation(faces):
    without = build_model(TrainConfig.from_recipe("best", width=4, transformer=False))
    assert {"theta", "attended"}.isdisjoint(layer.name for layer in without.layers)
    assert without.predict(faces, verbose=0).shape == (5, 7)
    plain = build_model(TrainConfig.from_recipe("paper", transformer=False))
    assert plain.count_params() == 66_857 - (400 + 2010 + 20512 + 198)


@on_one_backend
def test_resnet50_takes_the_place_of_the_feature_path(faces):
    model = build_model(TrainConfig.from_recipe("best", network="resnet50"))
    layers = model.get_layer("resnet50").layers
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in layers) > 50
    assert model.predict(faces, verbose=0).shape == (5, 7)


@pytest.mark.parametrize("network", ["wide", "residual", "paper"])
def test_normalisation_goes_into_the_weights(network, faces):
    keras.utils.set_random_seed(4)
    model = build_model(TrainConfig(network=network, width=4))
    random = np.random.default_rng(0)
    for weight in model.weights:  # as trained: nothing at its initial 0 or 1
        weight.assign(weight + random.uniform(0, 0.3, weight.shape))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    fast = fold_batch_normalization(model)
    assert not [one for one in fast.layers if isinstance(one, keras.layers.BatchNormalization)]
    np.testing.assert_allclose(
        fast.predict(faces, verbose=0), model.predict(faces, verbose=0), atol=1e-5
    )
    names = {layer.name for layer in fast.layers}
    assert {"theta", "attended", "logits", "probabilities"} <= names
    fast.set_weights([0 * weight for weight in fast.get_weights()])  # a copy: the model stays
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), kept)


def test_a_normalisation_after_something_else_stays():
    image = keras.Input((4, 4, 1))
    x = keras.layers.BatchNormalization(name="first")(image)
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    x = keras.layers.BatchNormalization(name="after_relu")(x)
    y = keras.layers.Conv2D(2, 1, use_bias=True, name="shared")(x)
    out = keras.layers.BatchNormalization(name="beside", scale=False)(y) + y
    model = keras.Model(image, out)
    fast = fold_batch_normalization(model)
    kept = {one.name for one in fast.layers if isinstance(one, keras.layers.BatchNormalization)}
    assert kept == {"first", "after_relu", "beside"}
    faces = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 1)).astype("float32")
    np.testing.assert_allclose(
        fast.predict(faces, verbose=0), model.predict(faces, verbose=0), atol=1e-6
    )


def test_a_layer_whose_output_is_used_elsewhere_is_not_folded():
    image = keras.Input((4, 4, 1))
    output = keras.layers.Conv2D(2, 1, name="output")(image)
    shared = keras.layers.Conv2D(2, 1, name="shared")
    outputs = [
        output,
        keras.layers.BatchNormalization(name="after_output")(output),
        keras.layers.BatchNormalization(name="after_shared")(shared(image)),
        shared(image + 1),
    ]
    model = keras.Model(image, outputs)
    for weight in model.weights:
        weight.assign(weight + 0.5)
    fast = fold_batch_normalization(model)
    kept = {one.name for one in fast.layers if isinstance(one, keras.layers.BatchNormalization)}
    assert kept == {"after_output", "after_shared"}
    faces = np.random.default_rng(0).uniform(0, 1, (2, 4, 4, 1)).astype("float32")
    for expected, got in zip(
        model.predict(faces, verbose=0), fast.predict(faces, verbose=0), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-6)
