"""A recipe's network, trained by this package and by PyTorch, in turns: faces a second.

    PYTHONPATH=. python benchmarks/train_cpu.py [--recipe best] [--torch-python OTHER/bin/python]

Each side is a process of its own, that waits while the other is timed. PyTorch is no dependency of
this project: `pip install torch`, here or in an environment that --torch-python names.

Both train on the same kind of random faces, in batches of 128, with the same layers, augmentation,
spatial transformer, loss, penalty, optimiser and average of the weights. A round is an epoch.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time

from keras_deep_emotion.config import RECIPES, TrainConfig

CLASSES = 7


def train_keras(config, count, rounds, threads):
    """Our training path; after each epoch waits for a line, then trains and prints its rate."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_deep_emotion.data.pipeline import FaceArrays, training_batches
    from keras_deep_emotion.models.deep_emotion import build_model
    from keras_deep_emotion.training.compile import compiled_trainer

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            wait_for_turn()
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            report(count / (time.perf_counter() - self.start))

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as `fit` does on a CPU
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    faces = FaceArrays(
        rng.integers(0, 256, (count, config.image_size, config.image_size, 1)).astype(np.float32),
        np.eye(CLASSES, dtype=np.float32)[labels],
        labels,
    )
    steps = math.ceil(count / config.batch_size)
    trainer = compiled_trainer(build_model(config, CLASSES), config, steps, jit_compile=False)
    trainer.fit(
        training_batches(faces, config.batch_size, config.seed),
        epochs=rounds,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[Turns()],
    )


def torch_network(config):
    """`model.build_model` in PyTorch: from images (batch, 1, side, side) to scores."""
    import torch
    from torch import nn

    def normalised_conv(inputs, outputs, size=3, pool=False):
        return [
            nn.Conv2d(inputs, outputs, size, padding="same", bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            *([nn.MaxPool2d(2)] if pool else []),
            nn.ReLU(),
        ]

    width = config.width
    if config.network == "paper":
        localisation = [
            *(nn.Conv2d(1, 8, 7), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(8, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.LazyLinear(32), nn.ReLU()),
        ]
        features = [
            *(nn.Conv2d(1, width, 3), nn.ReLU()),
            *(nn.Conv2d(width, width, 3), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(width, width, 3), nn.ReLU()),
            *(nn.Conv2d(width, width, 3), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Dropout(config.dropout), nn.LazyLinear(50), nn.ReLU()),
        ]
    else:
        localisation = [
            nn.AvgPool2d(2),
            *normalised_conv(1, 16, size=5, pool=True),
            *normalised_conv(16, 32, pool=True),
            *(nn.Flatten(), nn.LazyLinear(32, bias=False), nn.BatchNorm1d(32, eps=1e-3), nn.ReLU()),
        ]
        features, before = [], 1
        for stage in (1, 2, 4, 8):
            after = stage * width
            features += normalised_conv(before, after)
            features += normalised_conv(after, after, pool=stage < 8)
            before = after
        features += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(config.dropout)]

    class DeepEmotion(nn.Module):
        def __init__(self):
            super().__init__()
            self.localisation = nn.Sequential(*localisation)
            self.theta = nn.Linear(32, 6)
            self.features = nn.Sequential(*features)
            self.logits = nn.LazyLinear(CLASSES)
            self.register_buffer("identity", torch.tensor([1.0, 0, 0, 0, 1, 0]))

        def forward(self, images):
            x = images / 127.5 - 1
            located = self.localisation(x)
            with torch.autocast("cpu", enabled=False):  # positions in float32, as ours
                change = torch.tanh(config.theta_rate * self.theta(located.float()))
                x = torch_warp(x, self.identity + config.theta_reach * change)
            return self.logits(self.features(x))

        def penalty(self):
            """Squared norm of the last two dense layers, times lambda."""
            dense = [one for one in (*self.features, self.logits) if isinstance(one, nn.Linear)]
            return config.regularization * sum(one.weight.square().sum() for one in dense)

    network = DeepEmotion()
    network(torch.zeros(2, 1, config.image_size, config.image_size))  # lazy layers take their sizes
    network.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if config.network == "paper":
                    layer.weight.normal_(0, 0.05)
                else:
                    nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(network.theta.weight)
    return network


def torch_warp(images, theta):
    """Sample images (count, 1, side, side) by affine transforms (count, 6)."""
    from torch.nn import functional

    grid = functional.affine_grid(theta.view(-1, 2, 3), images.shape, align_corners=True)
    return functional.grid_sample(images, grid, align_corners=True)


def torch_augmented(images, config):
    """Flip, rotate, zoom and shift each image by its own amounts in one sampling; cutout."""
    import torch

    count, side = len(images), images.shape[-1]

    def uniform(limit):
        return (torch.rand(count) * 2 - 1) * limit

    angle, scale = uniform(math.radians(config.rotation)), 1 + uniform(config.zoom)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    across, along = uniform(2 * config.shift), uniform(2 * config.shift)
    images = torch_warp(
        images, torch.stack([cos * mirror, -sin, across, sin * mirror, cos, along], 1)
    )
    if config.cutout:
        half = torch.rand(count, 1, 1) * config.cutout * side / 2
        place = torch.arange(side) + 0.5
        y = place.view(1, -1, 1) - torch.rand(count, 1, 1) * side
        x = place.view(1, 1, -1) - torch.rand(count, 1, 1) * side
        images = images.masked_fill(((y.abs() < half) & (x.abs() < half))[:, None], 0)
    return images


def train_torch(config, count, rounds, threads):
    """The same by PyTorch."""
    try:
        import torch
    except ModuleNotFoundError:
        sys.exit("PyTorch is not installed: pip install torch, or name it by --torch-python.")
    from torch.nn import functional

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 1, config.image_size, config.image_size)).float()
    labels = torch.randint(0, CLASSES, (count,))
    network = torch_network(config)
    weights = list(network.parameters())
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(weights, config.learning_rate, eps=1e-7)
    else:
        # A rate that needs no warm-up: it has no part in the time.
        optimizer = torch.optim.SGD(
            weights, 0.01, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
        )
    averages = [weight.detach().clone() for weight in weights] if config.average else []
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "mixed_bfloat16")
    for _ in range(rounds):
        wait_for_turn()
        start = time.perf_counter()
        for chosen in torch.randperm(count).split(config.batch_size):
            with mixed:
                scores = network(torch_augmented(images[chosen], config))
            loss = functional.cross_entropy(
                scores.float(), labels[chosen], label_smoothing=config.label_smoothing
            )
            if config.regularization:
                loss = loss + network.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if averages:
                torch._foreach_lerp_(averages, [weight.detach() for weight in weights], 0.005)
        report(count / (time.perf_counter() - start))


def wait_for_turn():
    if not sys.stdin.readline():
        sys.exit()


def report(rate):
    print(f"rate {rate}", flush=True)


class Side:
    """One of the two, in its own process."""

    def __init__(self, name, python, args):
        settings = {
            "--faces": args.faces,
            "--rounds": args.rounds + 1,  # the first is to warm up
            "--threads": args.threads,
            "--recipe": args.recipe,
            "--precision": args.precision,
        }
        self.process = subprocess.Popen(
            [python, __file__, "--side", name]
            + [str(word) for pair in settings.items() for word in pair],
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
    parser.add_argument("--faces", type=int, default=2560, help="in a round")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="paper")
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--threads", type=int, default=0, help="of each side; 0: its own choice")
    parser.add_argument("--side", choices=("keras", "torch"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        train = {"keras": train_keras, "torch": train_torch}[args.side]
        config = TrainConfig.from_recipe(args.recipe, precision=args.precision)
        train(config, args.faces, args.rounds, args.threads)
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
