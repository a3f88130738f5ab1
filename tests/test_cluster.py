"""cluster.yaml passes Ray's own validation, and is as safe and as thrifty as it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[1] / "cluster.yaml"


def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def test_ray_accepts_it() -> None:
    validate_config(prepare_config(config()))


def test_rays_validation_would_notice_a_mistake() -> None:
    with pytest.raises(ValidationError):
        validate_config(prepare_config({**config(), "max_worker": 3}))


def test_workers_are_a100_spot_nodes_that_end_when_idle() -> None:
    made = config()
    worker = made["available_node_types"]["a100"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["min_workers"] == 0
    assert worker["resources"]["accelerator_type:A100"]
    assert made["provider"]["cache_stopped_nodes"] is False
    assert "idle_timeout_minutes" in made


def test_nothing_is_left_to_rays_defaults() -> None:
    """Ray fills in what is missing: a nightly wheel, an old image, SSH for everybody, no token."""
    made = config()
    assert any("pip install" in command and "lscht_ray" in command for command in made["setup_commands"])
    assert all("ImageId" in node["node_config"] for node in made["available_node_types"].values())
    assert "0.0.0.0/0" not in FILE.read_text()
    assert "/home/ubuntu/.ray/auth_token" in made["file_mounts"]
    for commands in (made["head_start_ray_commands"], made["worker_start_ray_commands"]):
        assert any("RAY_AUTH_MODE=token" in command and "ray start" in command for command in commands)
