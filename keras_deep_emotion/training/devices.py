"""TODO."""

import os
import platform
from pathlib import Path

import tensorflow as tf


def resolve_precision(precision):
    """Keras dtype policy for a `--precision` choice on this machine.

    Args:
        precision: "auto" or a policy of Keras. "auto" is bfloat16 on GPUs that compute in it
            (compute capability 8.0 and above), float16 on those with float16 tensor cores (7.0),
            else float32: a CPU computes half precision no faster.

    Returns:
        "float32", "mixed_float16" or "mixed_bfloat16".
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "float32"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    weakest = min(detail.get("compute_capability", (0, 0)) for detail in details)
    if weakest >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if weakest >= (7, 0) else "float32"


def strategy_for_devices():
    """How this machine trains: each batch shared by all its GPUs, or on its one device."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def steps_per_execution(steps):
    """How many of an epoch's steps to do in one call: 16 at most, and a divisor of `steps`.

    Of any other number Keras does whole calls, so more steps than the epoch has.
    """
    return max(count for count in range(1, 17) if steps % count == 0)


def describe_machine():
    """System, processor and GPUs of this machine in one line."""
    processor = platform.processor() or platform.machine()
    try:  # Linux leaves the name here and nowhere else
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([platform.system(), platform.machine(), processor, cores, *gpus])
