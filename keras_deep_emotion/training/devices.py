"""What this machine trains on: precision, distribution over its GPUs, description."""

import os
import platform
from pathlib import Path

import tensorflow as tf

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def resolve_precision(precision: str) -> str:
    """Keras dtype policy of a `--precision` choice on this machine.

    "auto" is bfloat16 on GPUs of compute capability 8.0 and above and on CPUs with instructions for
    it, float16 on GPUs from 7.0 (tensor cores), float32 otherwise.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "mixed_bfloat16" if multiplies_bfloat16() else "float32"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    weakest = min(detail.get("compute_capability", (0, 0)) for detail in details)
    if weakest >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if weakest >= (7, 0) else "float32"


def multiplies_bfloat16() -> bool:
    """Whether TensorFlow uses instructions of this CPU for bfloat16; known on Linux only."""
    is_used = os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return is_used and not BFLOAT16.isdisjoint(cpu_info().get("flags", "").split())


def cpu_info() -> dict[str, str]:
    """What Linux knows of the first processor; empty on other systems."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    fields = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


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
    # On Linux, `platform` does not know the name.
    processor = cpu_info().get("model name") or platform.processor() or platform.machine()
    gpus = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, gpus)
    names = [detail.get("device_name", "GPU") for detail in details]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([platform.system(), platform.machine(), processor, cores, *names])
