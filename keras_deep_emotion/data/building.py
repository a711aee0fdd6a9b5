"""Builds a data set from what the user holds."""

import contextlib
import fcntl
import io
import shutil
import tempfile
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import parse_build_target
from tfds_builders.folder.folder_dataset_builder import config_of
from tfds_builders.sources import skipping_damaged

# TFDS keeps up to 1 GB of a split in memory before it sorts on disk: too much beside TensorFlow for
# FERG's 55,767 images on a small machine. Times and memory with a quarter: benchmarks/RESULTS.md.
shuffle.MAX_MEM_BUFFER_SIZE = 256 * 2**20


@contextlib.contextmanager
def source_folder(source):
    """Give a source as a folder: TFDS takes no file, so a file is linked into an empty folder.

    Raises:
        FileNotFoundError: there is no such folder or file.
    """
    if source is None or source.is_dir():
        yield source
        return
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; name what you obtained with --source.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / source.name).symlink_to(source.resolve())
        yield Path(folder)


def build_dataset(
    dataset,
    source=None,
    data_dir=None,
    skip_damaged=False,
    beam=None,
    announce=lambda text: None,
):
    """Build a data set, all of it or the part that is named.

    Args:
        dataset: `name`, `name/variant` or `name/config`, as `task.parse_build_target` takes it.
        source: folder, archive or file that the user obtained; None where nothing is needed.
        data_dir: folder of the TFRecords, None for TFDS's own.
        skip_damaged: leave out image files that cannot be decoded, and list them in damaged.txt
            beside the TFRecords, instead of stopping at the first.
        beam: options of an Apache Beam pipeline (`["--runner=..."]`, empty for one machine) that
            builds it, None without Beam. Only FERG is large enough to have it.
        announce: called with a line of text before each part.

    Yields:
        The `tfds.core.DatasetBuilder` of each part, built; at once where it was already.

    Raises:
        ValueError: there is no such data set; or what `source` holds is not right.
        FileNotFoundError: `source` does not exist or holds none of it.
    """
    name, configs = parse_build_target(dataset)
    if CATALOG[name].named_by_source and source is None:
        raise FileNotFoundError("Which folder? Name it with --source DIR.")
    with source_folder(source) as folder:
        if CATALOG[name].named_by_source:
            configs = [config_of(folder, source.resolve().name.partition(".")[0])]
        for config in configs:
            builder = tfds.builder(name, config=config, data_dir=data_dir)
            if not builder.is_prepared():
                announce(f"building {builder.info.full_name}")
                # TFDS announces a download of unknown size, which there is not.
                with contextlib.redirect_stdout(io.StringIO()), exclusive_build(builder):
                    builder = tfds.builder(name, config=config, data_dir=data_dir)
                    if not builder.is_prepared():  # by another, while this one waited
                        write_config(builder, folder, skip_damaged, beam)
            yield builder


@contextlib.contextmanager
def exclusive_build(builder):
    """Keep other builds of the same config waiting, and clear away what a killed one left.

    TFDS writes aside, into `incomplete.*`, and renames: a kill -9 leaves no whole data set, but
    that folder for good.
    """
    config_dir = Path(builder.data_path).parent
    config_dir.mkdir(parents=True, exist_ok=True)
    with (config_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the system, however this process ends
        for left in config_dir.glob("incomplete.*"):
            shutil.rmtree(left)
        yield


def damaged_files_path(builder):
    """Path of the list of files that a build left out as damaged; none is there if it did not."""
    return Path(builder.data_path).parent / "damaged.txt"


def write_config(builder, folder, skip_damaged, beam):
    """Write one config's TFRecords, and the list of files left out; arguments as in `build`."""
    downloading = tfds.download.DownloadConfig(manual_dir=folder)
    if beam is not None:
        use_beam(builder, downloading, skip_damaged, beam)
    damaged = damaged_files_path(builder)
    damaged.unlink(missing_ok=True)
    if not skip_damaged:
        builder.download_and_prepare(download_config=downloading)
        return
    with skipping_damaged(damaged):
        builder.download_and_prepare(download_config=downloading)
    if not damaged.stat().st_size:
        damaged.unlink()


def use_beam(builder, downloading, skip_damaged, options):
    """Let a Beam pipeline do the build.

    Raises:
        ValueError: the builder has no pipeline, or damaged files are to be skipped.
        ModuleNotFoundError: Beam is not installed; the message says how to.
    """
    if not hasattr(builder, "beam"):
        raise ValueError(
            f"{builder.name} is small enough for one machine: build it without --beam."
        )
    if skip_damaged:
        raise ValueError(
            "Beam's workers cannot keep one list of damaged files: build without --beam, or repair "
            "them."
        )
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Apache Beam is not installed: pip install 'keras-deep-emotion[beam]'"
        ) from None
    builder.beam = True
    downloading.beam_options = PipelineOptions(options)
