"""Training speed of this package and of PyTorch for a recipe's network: faces per second.

    PYTHONPATH=. python benchmarks/train_cpu.py [--recipe best] [--torch-python OTHER/bin/python] \
        [--precision float32 mixed_bfloat16]

Each side is a process that waits while another is timed; a round is an epoch. PyTorch is not a
dependency: `pip install torch` (and click), for the Python that --torch-python names.

All train on random faces, with the same batches, layers, augmentation, spatial transformer, loss,
penalty, optimizer and average of the weights.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
from timing import echo_header, echo_row

CLASSES = 7
PRECISIONS = ("float32", "mixed_bfloat16")


def train_keras(config, count, rounds, threads):
    """Train by the package; before each epoch wait for a line, after it print its rate."""
    import keras
    import tensorflow as tf

    from keras_deep_emotion.config import TrainConfig
    from keras_deep_emotion.data.pipeline import FaceArrays, training_batches
    from keras_deep_emotion.models.deep_emotion import build_model
    from keras_deep_emotion.training.compile import compiled_trainer

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = wait_for_turn()

        def on_epoch_end(self, epoch, logs=None):
            print_rate(count, self.start)

    config = TrainConfig(**vars(config))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as `fit` does on a CPU
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    faces = rng.integers(0, 256, (count, config.image_size, config.image_size, 1))
    faces = FaceArrays(faces.astype(np.float32), np.eye(CLASSES, dtype=np.float32)[labels], labels)
    steps = math.ceil(count / config.batch_size)
    trainer = compiled_trainer(build_model(config, CLASSES), config, steps, jit_compile=False)
    batches = training_batches(faces, config.batch_size, config.seed)
    trainer.fit(batches, epochs=rounds, steps_per_epoch=steps, verbose=0, callbacks=[Turns()])


def torch_layers(config):
    """Localization and feature layers of `models.build_model` in PyTorch."""
    from torch import nn

    is_paper, width, dropout = config.network == "paper", config.width, nn.Dropout(config.dropout)

    def conv(inputs, outputs, size=3, pool=False):
        same = {} if is_paper else {"padding": "same", "bias": False}
        normalize = [] if is_paper else [nn.BatchNorm2d(outputs, eps=1e-3)]
        after = [nn.MaxPool2d(2), nn.ReLU()] if pool else [nn.ReLU()]
        return [nn.Conv2d(inputs, outputs, size, **same), *normalize, *after]

    if is_paper:
        dense = [nn.Flatten(), nn.LazyLinear(32), nn.ReLU()]
        features = conv(1, width) + conv(width, width, pool=True)
        features += conv(width, width) + conv(width, width, pool=True)
        features += [nn.Flatten(), dropout, nn.LazyLinear(50), nn.ReLU()]
        return conv(1, 8, 7, True) + conv(8, 10, 5, True) + dense, features
    localization = [
        *(nn.AvgPool2d(2), *conv(1, 16, 5, pool=True), *conv(16, 32, pool=True), nn.Flatten()),
        *(nn.LazyLinear(32, bias=False), nn.BatchNorm1d(32, eps=1e-3), nn.ReLU()),
    ]
    features, inputs = [], 1
    for stage in (1, 2, 4, 8):
        outputs = stage * width
        features += [*conv(inputs, outputs), *conv(outputs, outputs, pool=stage < 8)]
        inputs = outputs
    return localization, [*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout]


def torch_network(config):
    """`models.build_model` in PyTorch: from images (batch, 1, side, side) to logits."""
    import torch
    from torch import nn

    class DeepEmotion(nn.Module):
        def __init__(self):
            super().__init__()
            localization, features = torch_layers(config)
            self.localization = nn.Sequential(*localization)
            self.theta = nn.Linear(32, 6)
            self.features = nn.Sequential(*features)
            self.logits = nn.LazyLinear(CLASSES)
            self.register_buffer("identity", torch.eye(2, 3).flatten())

        def forward(self, images):
            x = images / 127.5 - 1
            located = self.localization(x)
            with torch.autocast("cpu", enabled=False):  # float32 positions, as in the package
                change = torch.tanh(config.theta_rate * self.theta(located.float()))
                x = torch_warp(x, self.identity + config.theta_reach * change)
            return self.logits(self.features(x))

        def penalty(self):
            dense = [one for one in (*self.features, self.logits) if isinstance(one, nn.Linear)]
            return config.regularization * sum(one.weight.square().sum() for one in dense)

    network = DeepEmotion()
    network(torch.zeros(2, 1, config.image_size, config.image_size))  # builds the lazy layers
    network.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        network.theta.weight.zero_()
    return network


def torch_warp(images, theta):
    """Sample images (count, 1, side, side) by affine transforms (count, 6)."""
    from torch.nn import functional

    grid = functional.affine_grid(theta.view(-1, 2, 3), images.shape, align_corners=True)
    return functional.grid_sample(images, grid, align_corners=True)


def torch_augment(images, config):
    """Flip, rotate, zoom and shift each image in one resampling; then cutout."""
    import torch

    count, side = len(images), images.shape[-1]

    def uniform(limit):
        return (torch.rand(count) * 2 - 1) * limit

    angle, scale = uniform(math.radians(config.rotation)), 1 + uniform(config.zoom)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    x, y = uniform(2 * config.shift), uniform(2 * config.shift)
    images = torch_warp(images, torch.stack([cos * flip, -sin, x, sin * flip, cos, y], 1))
    if config.cutout:
        half = torch.rand(count, 1, 1) * config.cutout * side / 2
        place = torch.arange(side) + 0.5
        y = place.view(1, -1, 1) - torch.rand(count, 1, 1) * side
        x = place.view(1, 1, -1) - torch.rand(count, 1, 1) * side
        images = images.masked_fill(((y.abs() < half) & (x.abs() < half))[:, None], 0)
    return images


def train_torch(config, count, rounds, threads):
    """As `train_keras`, in PyTorch."""
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 1, config.image_size, config.image_size)).float()
    labels = torch.randint(0, CLASSES, (count,))
    network = torch_network(config)
    weights = list(network.parameters())
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(weights, config.learning_rate, eps=1e-7)
    else:  # a rate that needs no warm-up; speed does not depend on it
        settings = {"momentum": 0.9, "nesterov": True, "weight_decay": config.weight_decay}
        optimizer = torch.optim.SGD(weights, 0.01, **settings)
    cross_entropy = torch.nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    averages = [weight.detach().clone() for weight in weights] if config.average else []
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "mixed_bfloat16")
    for _ in range(rounds):
        start = wait_for_turn()
        for batch in torch.randperm(count).split(config.batch_size):
            with mixed:
                logits = network(torch_augment(images[batch], config))
            loss = cross_entropy(logits.float(), labels[batch])
            if config.regularization:
                loss = loss + network.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if averages:
                torch._foreach_lerp_(averages, [weight.detach() for weight in weights], 0.005)
        print_rate(count, start)


def wait_for_turn():
    if not sys.stdin.readline():
        sys.exit()
    return time.perf_counter()


def print_rate(count, start):
    print(f"rate {count / (time.perf_counter() - start)}", flush=True)


def start_side(python, name, settings):
    return subprocess.Popen(
        [python, __file__, name, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if name == "torch" else subprocess.DEVNULL,  # TensorFlow's log
        text=True,
    )


def next_rate(side):
    """Let a side train an epoch; return its faces per second."""
    side.stdin.write("go\n")
    side.stdin.flush()
    for line in side.stdout:
        if line.startswith("rate "):
            return float(line.split()[1])
    sys.exit(f"a side ended early: {' '.join(side.args)}")


def main():
    from keras_deep_emotion.config import RECIPES, TrainConfig

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--faces", type=int, default=2560, help="faces in a round")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="paper")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--torch-python", help="Python that has PyTorch; without it, ours alone")
    parser.add_argument("--threads", type=int, default=0, help="threads of each side; 0: default")
    args = parser.parse_args()
    pythons = {"keras": sys.executable, "torch": args.torch_python}
    sides = {}
    for precision in args.precision:
        config = dataclasses.asdict(TrainConfig.from_recipe(args.recipe, precision=precision))
        settings = [config, args.faces, args.rounds + 1, args.threads]  # the first round warms up
        for name, python in pythons.items():
            if python is not None:
                sides[f"{name}, {precision}"] = start_side(python, name, settings)
    echo_header("round", *sides)
    rates = []
    for number in range(args.rounds + 1):
        rates.append([next_rate(side) for side in sides.values()])
        if number:
            echo_row(number, *(f"{rate:,.0f}" for rate in rates[-1]))
    medians = np.median(rates[1:], axis=0)
    echo_row("median", *(f"{rate:,.0f}" for rate in medians))
    echo_row("of the first", *(f"{rate / medians[0]:.2f}" for rate in medians))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keras" | "torch" as side, settings]:
            config, *numbers = json.loads(settings)
            train = train_keras if side == "keras" else train_torch
            train(SimpleNamespace(**config), *numbers)
        case _:
            main()
