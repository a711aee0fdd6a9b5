import keras
import numpy as np
import pytest

from keras_deep_emotion.layers.batch_normalization import BatchNormalization
from keras_deep_emotion.training.callbacks import AveragedEvaluation, BestModel

NAN = float("nan")


@pytest.mark.parametrize(
    ("epochs", "expected", "score"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1), (0.7, 1.5), (0.7, 1.9)], 3, (0.7, -1.5)),
        ([(0.2, 1.0), (0.3, NAN)], 0, (0.2, -1.0)),  # a network that diverged has an accuracy too
        ([(0.3, NAN), (0.2, 1.0)], 1, (0.2, -1.0)),
        ([(0.3, NAN), (0.4, NAN)], 0, (-1.0, 1.0)),
    ],
)
def test_best_epoch_is_kept_by_validation_accuracy_then_loss(epochs, expected, score, tmp_path):
    network, kept = (keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]) for _ in range(2))
    network.compile("sgd", "mse")
    averaged = AveragedEvaluation(network)
    averaged.set_model(network)
    best = BestModel(averaged, kept, tmp_path / "model.keras")
    best.set_model(network)
    for epoch, (accuracy, loss) in enumerate(epochs):
        network.layers[0].set_weights([np.full((1, 1), epoch), np.zeros(1)])
        averaged.on_test_begin()
        averaged.on_test_end()
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    saved = keras.saving.load_model(tmp_path / "model.keras")
    assert saved.layers[0].get_weights()[0] == expected
    assert best.best == score
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_what_is_validated_has_averaged_weights_and_statistics_of_whole_faces():
    """And training goes on as if there had been no validation."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(3, 1, use_bias=False, name="conv")(image)
    x = BatchNormalization(name="normal")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, x)
    network.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    random = np.random.default_rng(0)
    noisy, faces = random.normal(5, 3, (8, 4, 4, 1)), random.normal(2, 1, (300, 4, 4, 1))
    network.fit(noisy, np.ones((8, 3)), epochs=3, verbose=0)
    # Keras puts the average in their place when it is done; in an epoch, weights are elsewhere.
    network.trainable_variables[0].assign_add([[[[0.5, 0.1, -0.2]]]])
    learning = [keras.ops.convert_to_numpy(one) for one in network.variables]
    average = network.optimizer._model_variables_moving_average[0]
    averaged = AveragedEvaluation(network, faces.astype(np.float32))
    averaged.set_model(network)
    averaged.on_test_begin()
    normal = network.get_layer("normal")
    kernel = keras.ops.convert_to_numpy(average)
    np.testing.assert_allclose(network.get_layer("conv").get_weights()[0], kernel)
    # Batches of 150, not augmented, by the averaged weights.
    seen = faces.reshape(2, -1, 1) * kernel.reshape(1, 1, 3)
    np.testing.assert_allclose(normal.moving_mean, seen.mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(normal.moving_variance, seen.var(axis=1).mean(axis=0), rtol=1e-4)
    validated = network.get_weights()
    averaged.on_test_end()
    for variable, value in zip(network.variables, learning, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert normal.momentum == 0.99
    with averaged.validated_weights():
        for value, expected in zip(network.get_weights(), validated, strict=True):
            np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(network.get_layer("conv").get_weights()[0], learning[0])
    # Without faces: the moving statistics of training.
    averaged = AveragedEvaluation(network)
    averaged.set_model(network)
    averaged.on_test_begin()
    assert not np.array_equal(averaged.values[0], learning[0])
    np.testing.assert_array_equal(normal.moving_mean, learning[3])
    averaged.on_test_end()
