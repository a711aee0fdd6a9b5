import keras
import numpy as np

from keras_deep_emotion.callbacks import BestModel


def test_best_epoch_is_kept_by_validation_accuracy_then_loss(tmp_path):
    network, kept = (keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]) for _ in range(2))
    network.compile("sgd", "mse")
    best = BestModel(network, kept, tmp_path / "model.keras")
    best.set_model(network)
    epochs = [(0.5, 1.0), (0.7, 2.0), (0.6, 0.1), (0.7, 1.5), (0.7, 1.9)]
    for epoch, (accuracy, loss) in enumerate(epochs):
        network.layers[0].set_weights([np.full((1, 1), epoch), np.zeros(1)])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    saved = keras.saving.load_model(tmp_path / "model.keras")
    assert saved.layers[0].get_weights()[0] == 3
    assert best.best == (0.7, -1.5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]
