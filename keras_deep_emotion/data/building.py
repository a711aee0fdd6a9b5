"""Build data sets from what the user holds."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.reading import data_path, tfds_builder
from keras_deep_emotion.data.task import check_source, parse_build_target
from keras_deep_emotion.program import install_command
from tfds_builders.folder.folder_dataset_builder import config_of
from tfds_builders.sources import skipping_damaged


def build_dataset(
    dataset: str,
    source: Path | None = None,
    data_dir: str | Path | None = None,
    skip_damaged: bool = False,
    beam: list[str] | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Iterator[tfds.core.DatasetBuilder]:
    """Build a data set, or one variant or config of it. Interrupted builds are discarded.

    Args:
        dataset: `name`, `name/variant` or `name/config`, see `task.parse_build_target`.
        source: Folder, archive or file that the user obtained; None if no source is needed.
        data_dir: As in `reading.open_dataset`.
        skip_damaged: Leave out image files that cannot be decoded, and list them in damaged.txt
            beside the TFRecords, instead of stopping at the first.
        beam: Options of an Apache Beam pipeline (`["--runner=..."]`, empty for one machine) that
            builds it; None to build without Beam. Only FERG has a pipeline.
        announce: Called with a line of text before each config is built.

    Yields the builder of each config, once it is built.

    Raises:
        ValueError: If there is no such data set, or the contents of `source` are not valid.
        FileNotFoundError: If `source` does not exist or lacks files.
        ModuleNotFoundError: If Beam is required and not installed.
    """
    name, configs = parse_build_target(dataset)
    if CATALOG[name].named_by_source and source is None:
        raise FileNotFoundError("Which folder? Name it with --source DIR.")
    check_source(source, name)
    limit_shuffle_memory()
    with source_folder(source) as folder:
        if CATALOG[name].named_by_source:
            configs = [config_of(folder, source.resolve().name.partition(".")[0])]
        for config in configs:
            builder = tfds_builder(name, config, data_dir)
            if not builder.is_prepared():
                announce(f"building {builder.info.full_name}")
                # TFDS prints that it downloads the data set, but nothing is downloaded.
                with contextlib.redirect_stdout(io.StringIO()), exclusive_build(builder):
                    builder = tfds_builder(name, config, data_dir)
                    if not builder.is_prepared():  # by another process in the meantime
                        write_config(builder, folder, skip_damaged, beam)
            yield builder


def limit_shuffle_memory() -> None:
    """Let TFDS keep at most 256 MB of a split in memory before it sorts on disk.

    Its default, 1 GB, is too much beside TensorFlow on a small machine for FERG's 55,767 images;
    see benchmarks/RESULTS.md.
    """
    # Not public; seen in tensorflow-datasets 4.9.9.
    shuffle.MAX_MEM_BUFFER_SIZE = 256 * 2**20


@contextlib.contextmanager
def source_folder(source: Path | None) -> Iterator[Path | None]:
    """Yield the source as a folder; a file is linked into an empty one, as TFDS takes no file."""
    if source is None or source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / source.name
        try:
            link.symlink_to(source.resolve())
        except OSError:  # Windows asks for a privilege
            shutil.copy(source, link)
        yield Path(folder)


@contextlib.contextmanager
def exclusive_build(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Let other builds of a config wait; remove the `incomplete.*` folder of a killed build."""
    config_dir = data_path(builder).parent
    config_dir.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(config_dir / ".lock"):  # released by the system if this is killed
        for left in config_dir.glob("incomplete.*"):
            shutil.rmtree(left)
        yield


def damaged_files_path(builder: tfds.core.DatasetBuilder) -> Path:
    """Path of the list of files that a build left out as damaged; it exists if there are any."""
    return data_path(builder).parent / "damaged.txt"


def write_config(builder, folder, skip_damaged, beam):
    """Write the TFRecords of one config, and the list of damaged files; see `build_dataset`."""
    download_config = tfds.download.DownloadConfig(manual_dir=folder)
    if beam is not None:
        download_config.beam_options = beam_options(builder, skip_damaged, beam)
        builder.beam = True
    damaged = damaged_files_path(builder)
    damaged.unlink(missing_ok=True)
    with skipping_damaged(damaged) if skip_damaged else contextlib.nullcontext():
        try:
            builder.download_and_prepare(download_config=download_config)
        except AssertionError as error:
            if "No examples were yielded" not in str(error):
                raise
            # Of TFDS 4.9.9; `Failed to finalize writing of split "test": No examples ...`.
            split = str(error).partition('"')[2].partition('"')[0]
            raise ValueError(
                f"No image is left for the split {split}: name the whole data set with --source."
            ) from None
    if damaged.exists() and not damaged.stat().st_size:
        damaged.unlink()


def beam_options(builder: tfds.core.DatasetBuilder, skip_damaged: bool, options: list[str]):
    """Parse the options of a Beam pipeline; raise if it cannot build this data set."""
    if not hasattr(builder, "beam"):
        raise ValueError(f"{builder.name} fits on one machine: build it without --beam.")
    if skip_damaged:
        raise ValueError(
            "Beam's workers cannot keep one list of damaged files: build without --beam, or repair "
            "the files."
        )
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"Apache Beam is not installed: {install_command('beam')}"
        ) from None
    parsed = PipelineOptions(options)
    if "dask" in (parsed.view_as(StandardOptions).runner or "").lower():
        # Seen with Beam 2.77: side inputs are empty, and of several branches one is computed.
        raise ValueError(
            "Beam's runner for Dask cannot build data sets: build without --beam-option, on this "
            "machine, or name Flink, Spark or Dataflow."
        )
    return parsed
