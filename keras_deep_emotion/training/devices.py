"""What this machine trains on: precision, distribution over its GPUs, description."""

import os
import platform
from pathlib import Path

import tensorflow as tf


def resolve_precision(precision: str) -> str:
    """Keras dtype policy of a `--precision` choice on this machine.

    "auto" is bfloat16 on GPUs of compute capability 8.0 and above, float16 from 7.0 (tensor cores),
    float32 otherwise: most CPUs are not faster in half precision.
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


def strategy_for_devices() -> tf.distribute.Strategy:
    """A strategy that splits batches over all GPUs; the default one with fewer than two."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def steps_per_execution(steps: int) -> int:
    """Steps to run in one call: a divisor of `steps`, else Keras runs more than the epoch has."""
    return max(count for count in range(1, 17) if steps % count == 0)


def describe_devices() -> str:
    """What trains here, for people: "1 GPU" or "a CPU with 2 cores"."""
    if gpus := len(tf.config.list_physical_devices("GPU")):
        return f"{gpus} GPU{'s' * (gpus > 1)}"
    return f"a CPU with {os.cpu_count()} cores"


def describe_machine() -> str:
    """System, processor and GPUs of this machine in one line."""
    processor = platform.processor() or platform.machine()
    try:  # on Linux, `platform` does not know the name
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpus = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, gpus)
    names = [detail.get("device_name", "GPU") for detail in details]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([platform.system(), platform.machine(), processor, cores, *names])
