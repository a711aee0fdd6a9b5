import keras
import numpy as np
import pytest

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.layers.augmentation import AlignmentLoss
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.training.compile import (
    average_variables,
    averaged_weights,
    build_optimizer,
    compiled_trainer,
)

ONE_HOT = np.eye(7, dtype=np.float32)


def some_faces(count):
    return np.random.default_rng(0).uniform(0, 255, (count, 48, 48, 1)).astype(np.float32)


def test_loss_is_cross_entropy_plus_the_penalty():
    config = TrainConfig.from_recipe("paper", regularization=0.01, dropout=0.0)
    model = build_model(config)
    trainer = compiled_trainer(model, config, steps_per_epoch=1)
    faces = some_faces(6)
    shares = np.random.default_rng(1).dirichlet(np.ones(7), 6).astype(np.float32)
    loss, _ = trainer.evaluate(faces, shares, verbose=0)
    logs = np.log(model.predict(faces, verbose=0))
    dense = [layer for layer in model.layers if getattr(layer, "units", 0) in (50, 7)]
    norm = sum((layer.get_weights()[0] ** 2).sum() for layer in dense)
    expected = -(shares * logs).sum(axis=1).mean() + 0.01 * norm
    assert loss == pytest.approx(expected, rel=1e-4)


def test_alignment_teaches_the_transform_to_undo_a_shift():
    """All faces are one blurred spot, which is moved; the classes say nothing."""
    settings = {"flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.15, "cutout": 0.0}
    settings |= {"epochs": 15, "learning_rate": 0.1, "theta_rate": 1.0, "average": 0.0}
    config = TrainConfig.from_recipe("best", width=1, alignment=5.0, **settings)
    model = build_model(config)
    trainer = compiled_trainer(model, config, steps_per_epoch=4)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    spot = (255 * np.exp(-(y**2 + x**2) / 0.1)).astype(np.float32)[None, ..., None]
    faces = np.repeat(spot, 256, axis=0)
    targets = np.full((256, 7), 1 / 7, np.float32)
    history = trainer.fit(faces, targets, batch_size=64, epochs=15, verbose=0).history["loss"]
    assert history[-1] - np.log(7) < 0.3 * (history[0] - np.log(7))
    # Without augmentation there is nothing to undo, and no loss in evaluation.
    loss, _ = trainer.evaluate(faces[:8], targets[:8], verbose=0)
    assert loss == pytest.approx(np.log(7), abs=0.05)


@pytest.mark.parametrize(
    ("recipe", "settings", "aligned"),
    [("best", {}, True), ("best", {"transformer": False}, False), ("paper", {}, False)],
)
def test_recipe_best_aligns_the_transform_if_there_is_one(recipe, settings, aligned):
    config = TrainConfig.from_recipe(recipe, width=1, **settings)
    trainer = compiled_trainer(build_model(config), config, steps_per_epoch=1)
    assert any(isinstance(layer, AlignmentLoss) for layer in trainer.layers) == aligned


def test_a_trainer_shares_the_models_weights():
    config = TrainConfig.from_recipe("paper", warmup=0.0)
    model = build_model(config)
    trainer = compiled_trainer(model, config, steps_per_epoch=1)
    before = [weight.copy() for weight in model.get_weights()]
    trainer.fit(some_faces(8), ONE_HOT[np.arange(8) % 7], verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def rates(steps, **changes):
    optimizer = build_optimizer(TrainConfig.from_recipe("best", **changes), steps_per_epoch=10)
    optimizer.build([keras.Variable(np.zeros(1))])
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_the_rate_rises_then_falls_to_nothing():
    found = rates([0, 10, 20, 60, 100], epochs=10, warmup=2.0, learning_rate=0.004)
    np.testing.assert_allclose(found, [0, 0.002, 0.004, 0.002, 0], atol=1e-9)


def test_without_a_schedule_the_rate_stays():
    assert rates([0, 99], cosine=False, learning_rate=0.5) == [0.5, 0.5]


def test_warm_up_takes_half_of_a_short_training_at_most():
    found = rates([0, 5, 10], epochs=1, warmup=3.0, learning_rate=0.004)
    np.testing.assert_allclose(found, [0, 0.004, 0], atol=1e-9)


def test_decay_leaves_biases_and_normalisation_alone():
    config = TrainConfig.from_recipe("best", width=4, weight_decay=0.5, learning_rate=0.1)
    model = build_model(config)
    optimizer = build_optimizer(config, steps_per_epoch=1)
    optimizer.build(model.trainable_variables)
    decayed = {
        variable.path.split("/")[-1]
        for variable in model.trainable_variables
        if optimizer._use_weight_decay(variable)
    }
    assert decayed == {"kernel"}


def test_sgd_is_there_for_the_ablation():
    config = TrainConfig.from_recipe("paper", optimizer="sgd", warmup=0.0)
    optimizer = build_optimizer(config, 1)
    assert isinstance(optimizer, keras.optimizers.SGD) and optimizer.momentum == 0.9
    assert float(optimizer.learning_rate) == pytest.approx(0.005)


def test_averaged_weights_are_the_average_and_go_back_exactly():
    config = TrainConfig.from_recipe(
        "best", network="paper", epochs=100, average=3.0, cosine=False, weight_decay=0.0
    )
    model = build_model(config)
    trainer = compiled_trainer(model, config, steps_per_epoch=1)  # momentum 1 - 1/3
    faces, targets = some_faces(8), ONE_HOT[np.arange(8) % 7]
    seen = []
    for _ in range(3):
        trainer.train_on_batch(faces, targets)
        seen.append([weight.copy() for weight in model.get_weights()])
    with averaged_weights(trainer):
        averages = model.get_weights()
    for first, second, third, average, after in zip(
        *seen, averages, model.get_weights(), strict=True
    ):
        # Keras begins with the first weights.
        expected = (first * 2 / 3 + second / 3) * 2 / 3 + third / 3
        np.testing.assert_allclose(average, expected, atol=1e-6)
        np.testing.assert_array_equal(after, third)


def test_the_optimizers_averages_are_variables_of_it_in_the_weights_order():
    """Fails when Keras's private attribute behind `average_variables` goes."""
    variables = [keras.Variable(np.full(size, size, np.float32)) for size in (3, 2)]
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75)
    assert average_variables(optimizer) == []
    optimizer.build(variables)
    averages = average_variables(optimizer)
    owned = {id(variable) for variable in optimizer.variables}
    assert [average.shape for average in averages] == [(3,), (2,)]
    assert all(id(average) in owned for average in averages)
    for _ in range(2):
        optimizer.apply([np.ones(3, np.float32), np.ones(2, np.float32)], variables)
    # 3 - 1, then a quarter of what follows.
    for average, first in zip(averages, (2.0, 1.0), strict=True):
        np.testing.assert_allclose(average, first - 0.25, atol=1e-6)
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    assert average_variables(scaled) is averages
    assert average_variables(keras.optimizers.SGD()) == []


def test_without_averaging_the_weights_stay_as_they_are():
    config = TrainConfig.from_recipe("paper", warmup=0.0)
    model = build_model(config)
    trainer = compiled_trainer(model, config, steps_per_epoch=1)
    before = model.get_weights()
    with averaged_weights(trainer):
        for one, two in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_cutout_hides_parts_of_training_faces_only():
    settings = {"flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0, "dropout": 0.0}
    faces = some_faces(8)
    for cutout, changes in ((0.0, False), (1.0, True)):
        config = TrainConfig.from_recipe("paper", cutout=cutout, **settings)
        trainer = compiled_trainer(build_model(config), config, steps_per_epoch=1)
        still, trained = (
            keras.ops.convert_to_numpy(trainer(faces, training=training))
            for training in (False, True)
        )
        assert np.allclose(still, trained, atol=1e-5) != changes
