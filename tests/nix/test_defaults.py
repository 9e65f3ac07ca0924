"""The defaults of the deployment FileIntel replaces, value by value: in a host's units, in compose, in the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compose_file import compose, pairs
from deployment_defaults import DESIGN, GEVENT

ROOT = Path(__file__).parents[2]
Evaluate = Callable[[str], Any]
Said = dict[str, Any]

EXPECTED: Said = {
    "environment": DESIGN,
    "environment of the gevent worker alone": GEVENT,
    "limits": {
        "worker-graphrag": "20G",
        "worker-main": "16G",
        "postgres": "8G",
        "redis-broker": "3G",
        "redis-cache": "3G",
    },
    "reservations": {"worker-graphrag": "2G", "worker-main": "2G"},
    "postgres": {
        "max_connections": "500",
        "shared_buffers": "2GB",
        "effective_cache_size": "6GB",
        "work_mem": "32MB",
        "maintenance_work_mem": "512MB",
        "checkpoint_completion_target": "0.9",
        "wal_buffers": "16MB",
        "random_page_cost": "1.1",
    },
    "redis-broker": {"maxmemory-policy": "noeviction", "appendonly": "yes"},
    "redis-cache": {"maxmemory-policy": "allkeys-lru", "maxmemory": "2gb"},
}
WORKERS = ("worker-graphrag", "worker-main")
SERVERS = ("postgres", "redis-broker", "redis-cache")


def variables(gevent: dict[str, str], others: list[dict[str, str]]) -> Said:
    """What all processes are told of the table, and what the gevent worker alone is told."""
    same = {name: gevent[name] for name in DESIGN if all(other.get(name) == gevent[name] for other in others)}
    alone = {name: gevent[name] for name in GEVENT if not any(name in other for other in others)}
    return {"environment": same, "environment of the gevent worker alone": alone}


def servers(parameters: dict[str, dict[str, str]]) -> Said:
    """Of each server's parameters those of the table; what would limit the broker's memory is one too many."""
    return {
        name: {key: value for key, value in parameters[name].items() if key in EXPECTED[name] or key == "maxmemory"}
        for name in SERVERS
    }


def units(evaluate: Evaluate) -> Said:
    """As NixOS hands them to systemd; the servers' are NixOS's own, with what the plan says of them."""
    found = evaluate("""
      let plan = import nix/modules/plan.nix { }; units = import nix/modules/units.nix; in {
        inherit (plan) services;
        units = builtins.mapAttrs (name: service: units.unit name service {
          programs = { fileintel = "/fileintel"; python = "/python"; };
          user = "fileintel"; group = "fileintel"; stateDir = "/var/lib/fileintel"; local = [ ];
        }) (removeAttrs plan.services [ "postgres" "redis-broker" "redis-cache" ]);
      }
    """)
    environments = {name: unit["environment"] for name, unit in found["units"].items()}
    memory = {name: found["units"][name]["serviceConfig"] for name in WORKERS}
    limits = {name: entry["MemoryMax"] for name, entry in memory.items()}
    return {
        **variables(environments.pop("worker-graphrag"), list(environments.values())),
        "limits": limits | {name: found["services"][name]["memoryMax"] for name in SERVERS},
        "reservations": {name: entry["MemoryLow"] for name, entry in memory.items()},
        **servers({name: found["services"][name]["parameters"] for name in SERVERS}),
    }


def containers(evaluate: Evaluate) -> Said:
    services = compose()["services"]
    environments = {
        name: service["environment"] for name, service in services.items() if name not in (*SERVERS, "model-server")
    }
    resources = {name: service["deploy"]["resources"] for name, service in services.items() if "deploy" in service}
    return {
        **variables(environments.pop("worker-graphrag"), list(environments.values())),
        "limits": {name: entry["limits"]["memory"] for name, entry in resources.items()},
        "reservations": {
            name: entry["reservations"]["memory"] for name, entry in resources.items() if "reservations" in entry
        },
        **servers({name: pairs(services[name]["command"]) for name in SERVERS}),
    }


def images(evaluate: Evaluate) -> Said:
    """An image has no limits: who runs it sets them; and one is for all of our processes."""
    found = json.loads((ROOT / "nix" / "debian-images.json").read_text(encoding="utf-8"))["images"]
    named = {name: found[f"fileintel-{name}"] for name in SERVERS}
    environment = dict(pair.split("=", 1) for pair in found["fileintel"]["Env"])
    return {
        "environment": {name: environment[name] for name in DESIGN},
        **servers({name: pairs(config["Cmd"]) for name, config in named.items()}),
    }


@pytest.mark.parametrize("rendering", [units, containers, images], ids=["unit", "compose", "image"])
def test_every_value_of_the_design(rendering: Callable[[Evaluate], Said], evaluate: Evaluate):
    found = rendering(evaluate)
    assert found == {key: EXPECTED[key] for key in found}
    assert len(found) == (4 if rendering is images else len(EXPECTED))
