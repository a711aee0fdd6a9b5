"""The paper's network, trained by this package and by PyTorch, in turns: faces a second.

    PYTHONPATH=. python benchmarks/train_cpu.py [--torch-python OTHER_VENV/bin/python]

Each side is a process of its own, that waits while the other is timed. PyTorch is no dependency of
this project: `pip install torch`, here or in an environment that --torch-python names.

Both train on the same kind of random faces, in batches of 128, with the recipe `paper`: the same
layers, augmentation, spatial transformer, loss with the same penalty, Adam. A round is an epoch.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time

from keras_deep_emotion.config import TrainConfig

CONFIG = TrainConfig.from_recipe("paper")
CLASSES = 7


def train_keras(count, rounds, threads):
    """Our training path; after each epoch waits for a line, then trains and prints its rate."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_deep_emotion.data import Faces, training_batches
    from keras_deep_emotion.model import build_model
    from keras_deep_emotion.trainer import compiled_trainer

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            wait_for_turn()
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            report(count / (time.perf_counter() - self.start))

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as `fit` does on a CPU
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    faces = Faces(
        rng.integers(0, 256, (count, CONFIG.image_size, CONFIG.image_size, 1)).astype(np.float32),
        np.eye(CLASSES, dtype=np.float32)[labels],
        labels,
    )
    steps = math.ceil(count / CONFIG.batch_size)
    trainer = compiled_trainer(build_model(CONFIG, CLASSES), CONFIG, steps, jit_compile=False)
    trainer.fit(
        training_batches(faces, CONFIG.batch_size, CONFIG.seed),
        epochs=rounds,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[Turns()],
    )


def train_torch(count, rounds, threads):
    """The same by PyTorch."""
    try:
        import torch
    except ModuleNotFoundError:
        sys.exit("PyTorch is not installed: pip install torch, or name it by --torch-python.")
    from torch import nn
    from torch.nn import functional

    def warp(images, theta):
        """Sample images (count, 1, side, side) by affine transforms (count, 6)."""
        grid = functional.affine_grid(theta.view(-1, 2, 3), images.shape, align_corners=True)
        return functional.grid_sample(images, grid, align_corners=True)

    class DeepEmotion(nn.Module):
        def __init__(self):
            super().__init__()
            width = CONFIG.width
            self.localisation = nn.Sequential(
                nn.Conv2d(1, 8, 7),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(8, 10, 5),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.LazyLinear(32),
                nn.ReLU(),
            )
            self.theta = nn.Linear(32, 6)
            self.features = nn.Sequential(
                nn.Conv2d(1, width, 3),
                nn.ReLU(),
                nn.Conv2d(width, width, 3),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(width, width, 3),
                nn.ReLU(),
                nn.Conv2d(width, width, 3),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(CONFIG.dropout),
            )
            self.dense = nn.LazyLinear(50)
            self.logits = nn.Linear(50, CLASSES)
            self.register_buffer("identity", torch.tensor([1.0, 0, 0, 0, 1, 0]))

        def forward(self, images):
            x = images / 127.5 - 1
            change = torch.tanh(CONFIG.theta_rate * self.theta(self.localisation(x)))
            x = warp(x, self.identity + CONFIG.theta_reach * change)
            return self.logits(functional.relu(self.dense(self.features(x))))

        def penalty(self):
            """Squared norm of the last two dense layers, times lambda."""
            weights = (self.dense.weight, self.logits.weight)
            return CONFIG.regularization * sum(weight.square().sum() for weight in weights)

    def augmented(images):
        """Flip, rotate, zoom and shift each image by its own amounts, in one sampling."""

        def uniform(limit):
            return (torch.rand(len(images)) * 2 - 1) * limit

        angle, scale = uniform(math.radians(CONFIG.rotation)), 1 + uniform(CONFIG.zoom)
        side = torch.where(torch.rand(len(images)) < 0.5, -1.0, 1.0)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        across, along = uniform(2 * CONFIG.shift), uniform(2 * CONFIG.shift)
        return warp(images, torch.stack([cos * side, -sin, across, sin * side, cos, along], 1))

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    side = CONFIG.image_size
    images = torch.randint(0, 256, (count, 1, side, side)).float()
    labels = torch.randint(0, CLASSES, (count,))
    network = DeepEmotion()
    network(images[:2])  # the lazy layers take their sizes
    network.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.normal_(0, 0.05) if name.endswith("weight") else value.zero_()
        network.theta.weight.zero_()
    optimizer = torch.optim.Adam(network.parameters(), CONFIG.learning_rate, eps=1e-7)
    for _ in range(rounds):
        wait_for_turn()
        start = time.perf_counter()
        for chosen in torch.randperm(count).split(CONFIG.batch_size):
            scores = network(augmented(images[chosen]))
            loss = functional.cross_entropy(scores, labels[chosen]) + network.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        report(count / (time.perf_counter() - start))


def wait_for_turn():
    if not sys.stdin.readline():
        sys.exit()


def report(rate):
    print(f"rate {rate}", flush=True)


class Side:
    """One of the two, in its own process."""

    def __init__(self, name, python, args):
        numbers = {
            "--faces": args.faces,
            "--rounds": args.rounds + 1,  # the first is to warm up
            "--threads": args.threads,
        }
        self.process = subprocess.Popen(
            [python, __file__, "--side", name]
            + [str(word) for pair in numbers.items() for word in pair],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if name == "torch" else subprocess.DEVNULL,  # TensorFlow's start-up log
            text=True,
        )

    def turn(self):
        """Train an epoch; faces a second."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("rate "):
                return float(line.split()[1])
        sys.exit(f"a side ended early: {' '.join(self.process.args)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--faces", type=int, default=20 * CONFIG.batch_size, help="in a round")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--threads", type=int, default=0, help="of each side; 0: its own choice")
    parser.add_argument("--side", choices=("keras", "torch"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        train = {"keras": train_keras, "torch": train_torch}[args.side]
        train(args.faces, args.rounds, args.threads)
        return
    sides = {
        "torch": Side("torch", args.torch_python, args),
        "keras": Side("keras", sys.executable, args),
    }
    print("| round | Keras on TensorFlow | PyTorch |\n|---|---|---|")
    rates = {name: [] for name in sides}
    for number in range(args.rounds + 1):
        for name, side in sides.items():
            rates[name].append(side.turn())
        if number:
            print(
                f"| {number} | {rates['keras'][-1]:,.0f} | {rates['torch'][-1]:,.0f} |", flush=True
            )
    ours, theirs = (statistics.median(rates[name][1:]) for name in ("keras", "torch"))
    print(f"| median | {ours:,.0f} | {theirs:,.0f} |\n\nratio of medians: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
