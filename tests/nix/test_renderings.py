"""compose.yaml, the developer's process list and the images: all say what nix/services.nix says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_file import SECRETS, compose, interpolated, pairs
from deployment_defaults import GEVENT

from fileintel.settings import FIELD_OF, Bytes, Settings, read

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "nix" / "images"
Evaluate = Callable[[str], Any]

# The keys a service may have here, of those in the Compose specification.
SERVICE_KEYS = {
    *("image", "command", "environment", "depends_on", "ports", "networks", "volumes", "cap_drop", "deploy"),
    *("healthcheck", "init", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs"),
}


def images(evaluate: Evaluate, overrides: str = "") -> dict[str, Any]:
    """The config objects of the images."""
    places = (
        'path = "/bin"; zoneinfo = "/zone"; certificates = "/ca"; postgresEntrypoint = "/p"; redisEntrypoint = "/r";'
    )
    loaded = f"import nix/load.nix {{ overrides = {{ {overrides} }}; }}"
    return evaluate(
        f"import nix/image-configs.nix {{ inherit ({loaded}) services settings version; programs = {{ {places} }}; }}"
    )


def test_the_committed_compose_file_is_current(evaluate: Evaluate):
    text = evaluate("(import nix/compose.nix { }).text")
    assert (ROOT / "docs" / "compose.yaml").read_text(encoding="utf-8") == text, "python tools/render_compose.py"
    # Our own writer of YAML is understood as it was meant.
    data = evaluate("(import nix/compose.nix { }).data")
    settings = {name: value for name, value in data["x-settings"].items() if name != "_anchor"}
    read_back = yaml.safe_load(text)
    assert read_back["x-settings"] == settings
    for name, service in data["services"].items():
        if "_merge" in service["environment"]:
            own = {key: value for key, value in service["environment"].items() if key != "_merge"}
            service["environment"] = {**settings, **own}
        assert read_back["services"][name] == service


def test_the_committed_debian_images_are_current_and_like_those_of_nix(evaluate: Evaluate):
    described = evaluate("import nix/debian-images.nix")
    committed = json.loads((ROOT / "nix" / "debian-images.json").read_text(encoding="utf-8"))
    assert committed == described, "python tools/render_debian_images.py"
    assert {name.removeprefix("fileintel-") for name in described["images"]} == {
        "fileintel",
        "postgres",
        "redis-broker",
        "redis-cache",
    }
    places = {"PATH", "PYTHONTZPATH", "SSL_CERT_FILE"}
    for name, config in images(evaluate).items():
        debian = described["images"]["fileintel" if name == "app" else f"fileintel-{name}"]
        variables = [dict(pair.split("=", 1) for pair in each["Env"]) for each in (config, debian)]
        assert variables[0].keys() == variables[1].keys()
        assert {variable for variable in variables[0] if variables[0][variable] != variables[1][variable]} <= places
        differ = {key for key in config.keys() | debian.keys() if config.get(key) != debian.get(key)}
        assert differ <= {"Env", "Entrypoint"}


def test_every_renderer_knows_the_same_processes(evaluate: Evaluate):
    services = evaluate("(import nix/load.nix { }).services")
    developer = evaluate("(import nix/process-compose.nix { }).data")["processes"]
    assert set(compose()["services"]) == set(developer) == set(services)
    for name, service in services.items():
        assert set(compose()["services"][name].get("depends_on", {})) == set(service["after"])
        assert set(developer[name]["depends_on"]) == set(service["after"])
        if service["argv"][0] == "fileintel":
            assert developer[name]["command"] == " ".join(service["argv"])


def test_the_images_are_run_with_the_defaults_by_another_user_than_root(evaluate: Evaluate):
    found = images(evaluate)
    environment = dict(pair.split("=", 1) for pair in found["app"]["Env"])
    ours = {name: value for name, value in environment.items() if name in FIELD_OF}
    assert read({**ours, "FILEINTEL_API_HOST": "127.0.0.1", "FILEINTEL_STATE_DIR": ""}) == Settings()
    assert not GEVENT.keys() & environment.keys()
    for config in found.values():
        assert config["User"] not in ("", "0", "0:0") and config["Healthcheck"]["Test"][0] == "CMD"
        assert config["Labels"]["org.opencontainers.image.version"]
    assert environment["PYTHONTZPATH"] == "/zone" and environment["SSL_CERT_FILE"] == "/ca"
    assert (found["app"]["Entrypoint"], found["app"]["Cmd"]) == (["fileintel"], ["api"])


def test_a_process_reads_compose_environment_as_the_defaults():
    for service in compose()["services"].values():
        ours = {name: value for name, value in service["environment"].items() if name in FIELD_OF}
        if "FILEINTEL_CHAT_MODEL" not in ours:
            continue
        settings = read(ours)
        moved = {"api_host", "api_url", "state_dir", "blob_dir", "database_url", "redis_url", "cache_url"}
        moved |= {"openai_base_url"}
        same = Settings().model_dump(exclude=moved)
        assert settings.model_dump(exclude=moved) == same
        assert settings.openai_base_url == "http://model-server:8701/v1"


def test_one_changed_field_changes_every_rendering(evaluate: Evaluate):
    # In .env ...
    given = {"CELERY_GRAPHRAG_CONCURRENCY": "77", "CELERY_GRAPHRAG_MEMORY_LIMIT": "9G", "POSTGRES_WORK_MEM": "8MB"}
    services = compose(**given)["services"]
    assert services["worker-graphrag"]["environment"]["CELERY_GRAPHRAG_CONCURRENCY"] == "77"
    assert services["worker-graphrag"]["deploy"]["resources"]["limits"]["memory"] == "9G"
    assert pairs(services["postgres"]["command"])["work_mem"] == "8MB"
    # ... and in the process list.
    overrides = "".join(f'{name} = "{value}"; ' for name, value in given.items())
    service = evaluate(f"(import nix/load.nix {{ overrides = {{ {overrides} }}; }}).services")["worker-graphrag"]
    assert (service["concurrency"], service["memoryMax"]) == (77, "9G")
    rendered = evaluate(f"(import nix/compose.nix {{ overrides = {{ {overrides} }}; }}).data")
    services = interpolated(rendered, SECRETS)["services"]
    assert interpolated(rendered, SECRETS)["x-settings"]["CELERY_GRAPHRAG_CONCURRENCY"] == "77"
    assert services["worker-graphrag"]["deploy"]["resources"]["limits"]["memory"] == "9G"
    developer = evaluate(f"(import nix/process-compose.nix {{ overrides = {{ {overrides} }}; }}).data")["processes"]
    assert "CELERY_GRAPHRAG_CONCURRENCY=77" in developer["worker-graphrag"]["environment"]
    assert "work_mem=8MB" in developer["postgres"]["command"]
    config = images(evaluate, overrides)
    assert "CELERY_GRAPHRAG_CONCURRENCY=77" in config["app"]["Env"] and "work_mem=8MB" in config["postgres"]["Cmd"]


def test_a_queue_that_moves_in_workers_toml_moves_in_every_rendering(evaluate: Evaluate):
    text = (ROOT / "fileintel" / "workers.toml").read_text(encoding="utf-8")
    # A third worker, for the questions alone.
    third = text.replace('queues = ["graphrag_indexing", "graphrag_queries"]', 'queues = ["graphrag_indexing"]')
    block = third[third.index("[workers.graphrag]") : third.index("# Set in every worker's environment")]
    block = block.replace("workers.graphrag", "workers.questions").replace("graphrag_gevent", "questions")
    third += "\n" + block.replace('["graphrag_indexing"]', '["graphrag_queries"]')
    workers = f"workers = fromTOML {json.dumps(third)};"
    services = evaluate(f"(import nix/load.nix {{ {workers} }}).services")
    assert services["worker-questions"]["queues"] == ["graphrag_queries"]
    assert services["worker-graphrag"]["queues"] == ["graphrag_indexing"]
    rendered = evaluate(f"(import nix/compose.nix {{ {workers} }}).data")
    assert rendered["services"]["worker-questions"]["command"] == ["worker", "questions"]
    developer = evaluate(f"(import nix/process-compose.nix {{ {workers} }}).data")["processes"]
    assert developer["worker-questions"]["command"] == "fileintel worker questions"


def test_compose_is_well_formed():
    project = compose()
    assert set(project) == {"name", "x-settings", "services", "networks", "volumes"}
    for name, service in project["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert isinstance(service["command"], list) and all(isinstance(word, str) for word in service["command"])
        assert all(isinstance(value, str) for value in service["environment"].values())
        assert set(service["networks"]) <= set(project["networks"])
        for other, wanted in service.get("depends_on", {}).items():
            once = project["services"][other]["restart"] == "no"
            assert wanted == {"condition": "service_completed_successfully" if once else "service_healthy"}
            assert once or "healthcheck" in project["services"][other]
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in project["volumes"]
        for resource in service.get("deploy", {}).get("resources", {}).values():
            assert Bytes(resource["memory"]).bytes
        for check in filter(None, [service.get("healthcheck")]):
            assert check["test"][0] == "CMD" and all(
                re.fullmatch(r"\d+s", check[key]) for key in ("interval", "timeout")
            )
    uploads = {
        name
        for name, service in project["services"].items()
        if "state:/var/lib/fileintel" in service.get("volumes", [])
    }
    assert uploads == {"api", "worker-main"}


def test_compose_publishes_the_api_alone_and_knows_no_password():
    project = compose()
    assert {name for name, service in project["services"].items() if "ports" in service} == {"api"}
    assert project["services"]["api"]["ports"] == ["127.0.0.1:8700:8700"]
    assert project["networks"]["data"] == {"internal": True}
    for name in ("postgres", "redis-broker", "redis-cache"):
        assert project["services"][name]["networks"] == ["data"]
    raw = yaml.safe_load((ROOT / "docs" / "compose.yaml").read_text(encoding="utf-8"))
    for missing in SECRETS:
        with pytest.raises(KeyError, match=f"set {missing} in .env"):
            interpolated(raw, {name: value for name, value in SECRETS.items() if name != missing})
    names = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docs" / "compose.yaml").read_text(encoding="utf-8")))
    assert names <= set(FIELD_OF) | set(SECRETS) | {"IMAGE_TAG"}


def test_docker_compose_takes_the_file(tmp_path: Path):
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    command = ["docker", "compose", "--env-file", str(tmp_path / ".env"), "-f", str(ROOT / "docs" / "compose.yaml")]
    done = subprocess.run([*command, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which servers only say how they were started."""
    for name in ("postgres", "redis-server"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
        program.chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("17\n")
    yield {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PGDATA": str(tmp_path / "data"),
        "REDIS_DATA": str(tmp_path / "redis"),
        "REDIS_CONFIGURATION": str(tmp_path / "redis.conf"),
    }


def started(script: str, words: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(IMAGES / script), *words]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)


def test_postgres_gets_sizes_in_its_own_spelling(stage: dict[str, str]):
    given = [
        "shared_buffers=2G",
        "work_mem=32mb",
        "wal_buffers=16MB",
        "checkpoint_timeout=5min",
        "random_page_cost=1.1",
    ]
    done = started("postgres.sh", ["postgres", *(word for text in given for word in ("-c", text))], stage)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line != "-c"]
    assert said[-5:] == ["shared_buffers=2GB", "work_mem=32MB", "wal_buffers=16MB", *given[-2:]]


def test_a_server_without_a_password_does_not_start(stage: dict[str, str]):
    empty = {**stage, "PGDATA": stage["PGDATA"] + "-new"}
    for script, word, environment in (("postgres.sh", "postgres", empty), ("redis.sh", "redis-server", stage)):
        done = started(script, [word], environment)
        assert done.returncode == 1 and "there is no default password" in done.stderr and not done.stdout


def test_redis_is_told_its_password_in_a_private_file(stage: dict[str, str]):
    done = started("redis.sh", ["redis-server", "--save", ""], {**stage, "REDIS_PASSWORD": "only-here"})
    assert done.returncode == 0, done.stderr
    file = Path(stage["REDIS_CONFIGURATION"])
    assert file.read_text() == "requirepass only-here\n" and file.stat().st_mode & 0o777 == 0o600
    assert done.stdout.splitlines() == [str(file), "--dir", stage["REDIS_DATA"], "--save", ""]
    bad = started("redis.sh", ["redis-server"], {**stage, "REDIS_PASSWORD": "a b\nsave 1 1"})
    assert bad.returncode == 1 and "letters, digits" in bad.stderr
