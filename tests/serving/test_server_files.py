"""The server's own configuration files in exports/, held to its messages."""

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_deep_emotion.inference.client import MOST_FILES
from keras_deep_emotion.serving.container import write_models_config
from keras_deep_emotion.serving.warmup import REQUESTS

EXPORTS = Path(__file__).parents[2] / "exports"
INT64, BOOL, TEXT, MESSAGE = 3, 8, 9, 11  # FieldDescriptorProto.Type

# tensorflow-serving-api lacks these two; fields and numbers are those of the server's
# session_bundle_config.proto and monitoring_config.proto.
SCHEMAS = {
    "Int64Value": {"value": (1, INT64, None)},
    "BatchingParameters": {
        "max_batch_size": (1, MESSAGE, "Int64Value"),
        "batch_timeout_micros": (2, MESSAGE, "Int64Value"),
        "max_enqueued_batches": (3, MESSAGE, "Int64Value"),
        "num_batch_threads": (4, MESSAGE, "Int64Value"),
        "allowed_batch_sizes": (6, INT64, "repeated"),
        "pad_variable_length_inputs": (7, BOOL, None),
    },
    "PrometheusConfig": {"enable": (1, BOOL, None), "path": (2, TEXT, None)},
    "MonitoringConfig": {"prometheus_config": (1, MESSAGE, "PrometheusConfig")},
}


def message(name):
    """An empty message of SCHEMAS."""
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="s", syntax="proto3")
    for title, schema in SCHEMAS.items():
        kind = file.message_type.add(name=title)
        for key, (number, of_type, more) in schema.items():
            repeated = more == "repeated"
            field = kind.field.add(
                name=key, number=number, type=of_type, label=3 if repeated else 1
            )
            if of_type == MESSAGE:
                field.type_name = f".s.{more}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"s.{name}"))()


def test_batching_is_what_the_server_takes():
    config = text_format.Parse(
        (EXPORTS / "batching.config").read_text(), message("BatchingParameters")
    )
    sizes = list(config.allowed_batch_sizes)
    # The server insists on both.
    assert sizes == sorted(set(sizes)) and sizes[-1] == config.max_batch_size.value == 64
    assert MOST_FILES == config.max_batch_size.value  # or it refuses what our client sends
    assert not config.pad_variable_length_inputs
    assert config.batch_timeout_micros.value > 0 and config.num_batch_threads.value > 0
    assert {count for _, count in REQUESTS} <= set(sizes)


def test_monitoring_is_what_the_server_takes():
    config = text_format.Parse(
        (EXPORTS / "monitoring.config").read_text(), message("MonitoringConfig")
    )
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_models_are_those_with_a_version(tmp_path):
    for folder in ("face/1", "face/12", "other/3", "empty/partial-x", "no_model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "batching.config").touch()
    write_models_config(tmp_path)
    config = text_format.Parse((tmp_path / "models.config").read_text(), ModelServerConfig())
    got = [(one.name, one.base_path, one.model_platform) for one in config.model_config_list.config]
    assert got == [
        ("face", "/models/face", "tensorflow"),
        ("other", "/models/other", "tensorflow"),
    ]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((EXPORTS / "compose.yaml").read_text())


@pytest.mark.parametrize("name", ["serving", "serving-gpu"])
def test_compose_serves_this_folder_and_cannot_write_to_it(name, compose):
    service = compose["services"][name]
    assert service["image"].startswith("tensorflow/serving:")
    assert service["image"].endswith("-gpu") == (name == "serving-gpu")
    assert service["volumes"] == [".:/models:ro"]
    assert service["read_only"] is True
    assert [port.rsplit(":", 1)[-1] for port in service["ports"]] == ["8500", "8501"]
    assert all(port.startswith("${SERVING_HOST:-127.0.0.1}:") for port in service["ports"])
    flags = dict(flag.lstrip("-").split("=", 1) for flag in service["command"])
    files = {flag: Path(value) for flag, value in flags.items() if flag.endswith("_file")}
    assert {path.parent for path in files.values()} == {Path("/models")}
    written_by_export = {"models.config"}
    assert all(
        (EXPORTS / path.name).exists()
        for path in files.values()
        if path.name not in written_by_export
    )
    assert set(files) == {"model_config_file", "batching_parameters_file", "monitoring_config_file"}


def test_gpu_and_prometheus_are_profiles(compose):
    profiles = {name: one.get("profiles") for name, one in compose["services"].items()}
    assert profiles == {"serving": None, "serving-gpu": ["gpu"], "prometheus": ["monitoring"]}
    (device,) = compose["services"]["serving-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_health_and_prometheus_ask_where_monitoring_answers(compose):
    text = (EXPORTS / "monitoring.config").read_text()
    path = re.search(r'path: "(.*)"', text).group(1)
    probe = compose["services"]["serving"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "bash", "-c"] and f"GET {path} HTTP/1.0" in probe[3]
    scraped = yaml.safe_load(compose["configs"]["prometheus"]["content"])["scrape_configs"][0]
    (target,) = scraped["static_configs"][0]["targets"]
    assert scraped["metrics_path"] == path
    host, port = target.split(":")
    assert host in compose["services"]["serving"]["networks"]["default"]["aliases"]
    assert port == "8501"
