"""Whole machines with the NixOS modules, where FILEINTEL_NIXPKGS names a nixpkgs.

With a whole nixpkgs NixOS itself is asked; with its folders lib and nixos, NixOS's modules of systemd, Postgres and
Redis beside stand-ins for the rest; with its lib alone (nix-community/nixpkgs.lib) tests/nix/bench.nix has all options.
tests/nix/test_modules.py needs none of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NIXPKGS = os.environ.get("FILEINTEL_NIXPKGS", "")
pytestmark = pytest.mark.skipif(not NIXPKGS, reason="FILEINTEL_NIXPKGS names no nixpkgs")


def machine(path: Path, configuration: str) -> Any:
    """What a host with such a configuration is made of; raises ValueError with Nix's message."""
    module = path / "host.nix"
    module.write_text("{ services.fileintel = { enable = true; " + configuration + " }; }")
    return _machine(module)


def _machine(module: Path) -> Any:
    return _evaluated("machine.nix", "--argstr", "module", str(module))


def _evaluated(file: str, *arguments: str) -> Any:
    command = ["nix-instantiate", "--eval", "--strict", "--json", str(ROOT / "tests" / "nix" / file)]
    command += ["--argstr", "nixpkgs", NIXPKGS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


def test_one_host_runs_everything(tmp_path: Path):
    found = machine(tmp_path, "")
    units = found["units"]
    assert {name for name in units if name.startswith("fileintel")} == {
        "fileintel-admin-key",
        "fileintel-api",
        "fileintel-migrate",
        "fileintel-model-server",
        "fileintel-secrets",
        "fileintel-worker-graphrag",
        "fileintel-worker-main",
    }
    limits = {name: unit["serviceConfig"].get("MemoryMax") for name, unit in units.items()}
    assert limits["fileintel-worker-graphrag"] == "20G" and limits["fileintel-worker-main"] == "16G"
    assert limits["postgresql"] == "8G"
    assert limits["redis-fileintel-broker"] == limits["redis-fileintel-cache"] == "3G"
    assert found["slice"] == {"MemoryLow": "4G"}
    assert found["ports"] == [] or "8700" not in map(str, found["ports"])
    settings = found["postgres"]["settings"]
    assert settings["max_connections"] == "500" and settings["shared_buffers"] == "2GB"
    assert found["redis"]["fileintel-broker"]["settings"]["maxmemory-policy"] == "noeviction"
    assert found["redis"]["fileintel-broker"]["appendOnly"] is True
    assert found["redis"]["fileintel-cache"]["settings"]["maxmemory"] == "2gb"
    # Nothing stands in the store that a password could be read from.
    assert not re.search(r"redis://|sk-|password=", json.dumps(units["fileintel-api"]["environment"]))
    assert "fileintel" in found["users"] and "fileintel" in found["postgres"]["ensureDatabases"]


def test_nixos_makes_a_system_of_it(tmp_path: Path):
    found = machine(tmp_path, "")
    if found["toplevel"] is None:
        pytest.skip("FILEINTEL_NIXPKGS names no whole nixpkgs")
    assert re.search(r"-nixos-system-.*\.drv$", found["toplevel"])
    assert found["warnings"] == []


def test_the_unit_as_it_is_written(tmp_path: Path):
    lines = machine(tmp_path, "")["texts"]["fileintel-worker-graphrag"].splitlines()
    assert {"MemoryMax=20G", "MemoryLow=2G", "OOMPolicy=kill", "Slice=fileintel.slice"} <= set(lines)
    assert any(re.fullmatch(r"ExecStart=\S+ \S*fileintel worker graphrag", line) for line in lines), lines
    variables = {line.removeprefix("Environment=").strip('"') for line in lines if line.startswith("Environment=")}
    assert {"GEVENT_RESOLVER=ares", "CELERY_GRAPHRAG_CONCURRENCY=200"} <= variables, variables


@pytest.mark.parametrize("configuration", ["", 'roles = [ "gevent-worker" ]; environmentFile = "/run/keys/fileintel";'])
def test_what_the_program_is_asked_at_build_time_it_accepts(tmp_path: Path, configuration: str):
    _accepted(machine(tmp_path, configuration))


def _accepted(found: Any) -> None:
    (asked,) = [check for check in found["checks"] if "FILEINTEL_STATE_DIR" in check]
    ours = {name: value for name, value in asked.items() if name.isupper()}
    program = Path(sys.executable).parent / "fileintel"
    done = subprocess.run([program, "config", "check", "--offline"], env=ours, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_host_with_the_gevent_worker_alone(tmp_path: Path):
    found = machine(
        tmp_path,
        'roles = [ "gevent-worker" ]; environmentFile = "/run/keys/fileintel";'
        ' settings.OPENAI_BASE_URL = "http://gpu:8000/v1";',
    )
    units = [name for name in found["units"] if name.startswith(("fileintel", "redis-fileintel"))]
    assert units == ["fileintel-worker-graphrag"]
    worker = found["units"]["fileintel-worker-graphrag"]
    assert worker["serviceConfig"]["EnvironmentFile"] == ["/run/keys/fileintel"]
    assert worker["environment"]["OPENAI_BASE_URL"] == "http://gpu:8000/v1"
    assert "postgresql.target" not in worker["after"]
    assert not found["postgres"]["enable"] and found["redis"] == {}


def test_roles_add_up(tmp_path: Path):
    module = tmp_path / "host.nix"
    module.write_text("""
      let role = name: { services.fileintel = { enable = true; roles = [ name ]; }; }; in {
        imports = [ (role "postgres") (role "redis") ];
      }
    """)
    found = _machine(module)
    assert found["postgres"]["enable"] and set(found["redis"]) == {"fileintel-broker", "fileintel-cache"}
    assert [name for name in found["units"] if name.startswith("fileintel")] == ["fileintel-secrets"]


def test_a_third_worker_and_one_changed_value(tmp_path: Path):
    found = machine(
        tmp_path,
        """
        settings.CELERY_WORKER_CONCURRENCY = 8;
        workers.graphrag.memoryMax = "24G";
        workers.questions = { pool = "gevent"; queues = [ "graphrag_queries" ]; concurrency = 50; memoryMax = "5G"; };
        """,
    )["units"]
    assert "--concurrency=50" in found["fileintel-worker-questions"]["serviceConfig"]["ExecStart"]
    assert found["fileintel-worker-graphrag"]["serviceConfig"]["MemoryMax"] == "24G"
    # Every process is told, so that they count alike.
    assert found["fileintel-api"]["environment"]["CELERY_GRAPHRAG_MEMORY_LIMIT"] == "24G"
    assert found["fileintel-worker-main"]["environment"]["CELERY_WORKER_CONCURRENCY"] == "8"


def test_documents_on_another_disk_may_be_written(tmp_path: Path):
    found = machine(tmp_path, 'settings.FILEINTEL_BLOB_DIR = "/srv/documents"; stateDir = "/srv/fileintel";')["units"]
    service = found["fileintel-worker-main"]["serviceConfig"]
    assert service["ReadWritePaths"] == ["/srv/fileintel", "/srv/documents"] and "StateDirectory" not in service


def test_what_needs_no_documents_may_not_write_them(tmp_path: Path):
    units = machine(tmp_path, 'settings.FILEINTEL_BLOB_DIR = "/srv/documents";')["units"]
    may = {name for name, unit in units.items() if "/srv/documents" in unit["serviceConfig"].get("ReadWritePaths", [])}
    assert may == {"fileintel-api", "fileintel-worker-main"}


def test_postgres_for_other_hosts_asks_for_a_password(tmp_path: Path):
    found = machine(
        tmp_path,
        'postgres = { allowedNetworks = [ "10.0.0.0/24" ]; passwordFile = "/run/keys/pg"; }; openFirewall = true;',
    )
    assert "host fileintel fileintel 10.0.0.0/24 scram-sha-256" in found["postgres"]["authentication"]
    assert 5432 in found["ports"]
    setup = found["units"]["postgresql-setup"]["serviceConfig"]
    assert "fileintel-password:/run/keys/pg" in setup["LoadCredential"] and len(setup["ExecStartPost"]) == 2


def test_backup_and_flower(tmp_path: Path):
    found = machine(tmp_path, 'backup.enable = true; flower = { enable = true; passwordFile = "/run/keys/flower"; };')
    backup = found["units"]["fileintel-backup"]
    assert backup["wantedBy"] == [] and "/var/lib/fileintel/backups" in backup["unitConfig"]["RequiresMountsFor"]
    flower = found["units"]["fileintel-flower"]
    broker = "REDIS_URL:/var/lib/fileintel-secrets/REDIS_URL"
    assert flower["serviceConfig"]["LoadCredential"] == ["FLOWER_BASIC_AUTH:/run/keys/flower", broker]
    assert "fileintel-secrets.service" in flower["wants"]


def test_a_host_whose_servers_are_elsewhere_makes_copies_too(tmp_path: Path):
    found = machine(
        tmp_path,
        'postgres.createLocally = false; credentials.DATABASE_URL = "/run/keys/db"; backup.enable = true;',
    )
    backup = found["units"]["fileintel-backup"]
    assert backup["serviceConfig"]["LoadCredential"] == ["DATABASE_URL:/run/keys/db"]
    assert "postgresql.target" not in backup["after"]


@pytest.mark.parametrize(
    ("configuration", "file"),
    [("", "/etc/ssl/certs/ca-certificates.crt"), ('settings.SSL_CERT_FILE = "/etc/ours.pem";', "/etc/ours.pem")],
)
def test_servers_are_trusted_by_the_hosts_certificates(tmp_path: Path, configuration: str, file: str):
    units = machine(tmp_path, configuration)["units"]
    assert units["fileintel-worker-graphrag"]["environment"]["SSL_CERT_FILE"] == file


def test_a_variables_value_reaches_the_process_as_it_was_given(tmp_path: Path):
    found = machine(tmp_path, 'settings.HTTPS_PROXY = "http://us%40er@proxy:3128";')
    # systemd makes one % of two.
    assert found["units"]["fileintel-api"]["environment"]["HTTPS_PROXY"] == "http://us%%40er@proxy:3128"
    (asked,) = [check for check in found["checks"] if "FILEINTEL_STATE_DIR" in check]
    assert asked["HTTPS_PROXY"] == "http://us%40er@proxy:3128"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_every_unit_of_a_host_is_accepted_and_hardened(tmp_path: Path):
    found = machine(tmp_path, 'backup.enable = true; flower = { enable = true; passwordFile = "/run/keys/flower"; };')
    assert len(found["texts"]) == 9
    for name, text in found["texts"].items():
        # Scripts start where NixOS puts them; none is there.
        text = re.sub(r"^ExecStart=.*", "", text, flags=re.MULTILINE)
        (tmp_path / f"{name}.service").write_text(text.replace("[Service]", "[Service]\nExecStart=/bin/true"))
    names = sorted(path.name for path in tmp_path.glob("*.service"))
    (tmp_path / "fileintel.slice").write_text("[Unit]\nDescription=FileIntel\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(f"./{name}" for name in names)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    # systemd 254 knows these two, and goes on without them before.
    assert [line for line in done.stderr.splitlines() if "Restart" not in line and "fileintel" in line] == []
    for name in names:
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", f"./{name}"]
        rated = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert rated.returncode == 0, (name, rated.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (
            'redis.broker.maxmemoryPolicy = "allkeys-lru";',
            "redis.broker.maxmemoryPolicy is allkeys-lru: such a broker drops queued tasks",
        ),
        ('environmentFile = "/nix/store/abc-key";', "services.fileintel.environmentFile lies in the Nix store"),
        (
            'credentials.OPENAI_API_KEY = "/nix/store/abc-key";',
            "services.fileintel.credentials.OPENAI_API_KEY lies in the Nix store",
        ),
        ('credentials.FILEINTEL_LOG_LEVEL = "/run/keys/x";', "FILEINTEL_LOG_LEVEL is no secret setting of FileIntel"),
        ('settings.OPENAI_API_KEY = "sk-1";', "OPENAI_API_KEY holds a secret, and everybody can read the Nix store"),
        ('workers.main.queues = [ "defualt" ];', "workers.main.queues"),
        ('roles = [ "gevent-worker" ];', "DATABASE_URL is not known"),
        ('credentials.REDIS_URL = "/run/keys/url";', "REDIS_URL is set, and this host has a broker of its own"),
        ('settings.FILEINTEL_CACHE_URL = "redis://other";', "this host has a cache of its own with a password"),
        ('redis.cache.memoryMax = "1G";', "redis.cache: maxmemory 2gb does not fit into memoryMax 1G"),
        (
            'workers.ocr = { queues = [ "document_processing" ]; concurrency = 16; memoryMax = "16G"; };',
            "max_connections is 500, and full pools of this host's 24 processes hold 480",
        ),
        ("api.port = 80;", "services.fileintel.api.port is 80: the API runs without privileges"),
        ('stateDir = "/home/fileintel";', "stateDir is /home/fileintel, which the units cannot see"),
        ('settings.FILEINTEL_BLOB_DIR = "/tmp/blobs";', "FILEINTEL_BLOB_DIR is /tmp/blobs, which the units cannot see"),
        ('backup.location = "/root/copies";', "backup.location is /root/copies, which the units cannot see"),
        ('environmentFile = "keys/fileintel";', "environmentFile"),
        ('postgres.allowedNetworks = [ "10.0.0.0/24" ];', "allowedNetworks is set without passwordFile"),
        ("flower.enable = true;", "flower.passwordFile must be outside the Nix store"),
        ('user = "other";', "services.fileintel.postgres.database and services.fileintel.user must be the same"),
        ("settings.FILEINTEL_API_PORT = 70000;", "FILEINTEL_API_PORT"),
        ('workers.questions.pool = "gevent";', "workers.questions.queues"),
        ('settings.FILEINTEL_STATE_DIR = "/data";', "FILEINTEL_STATE_DIR is set"),
        ('credentials.DATABASE_URL = "/run/keys/db";', "this host has a Postgres of its own"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, configuration: str, message: str):
    with pytest.raises(ValueError) as caught:
        machine(tmp_path, configuration)
    assert message in str(caught.value)


def test_a_port_that_another_redis_server_has_is_refused(tmp_path: Path):
    module = tmp_path / "host.nix"
    module.write_text("""{
      services.fileintel.enable = true;
      services.redis.servers.sessions = { enable = true; port = 6379; };
    }""")
    with pytest.raises(ValueError, match="services.redis.servers.sessions listens on 6379 too"):
        _machine(module)


def test_redis_with_a_given_password_is_known_to_the_processes_of_its_host(tmp_path: Path):
    found = machine(
        tmp_path, 'redis.broker.passwordFile = "/run/keys/broker"; redis.cache.passwordFile = "/run/keys/c";'
    )
    secrets = found["units"]["fileintel-secrets"]["serviceConfig"]
    assert secrets["LoadCredential"] == ["fileintel-broker:/run/keys/broker", "fileintel-cache:/run/keys/c"]
    given = found["units"]["fileintel-worker-main"]["serviceConfig"]["LoadCredential"]
    assert {item.split(":")[0] for item in given} == {"REDIS_URL", "FILEINTEL_CACHE_URL"}
    assert found["redis"]["fileintel-cache"]["requirePassFile"] == "/run/keys/c"
    # They read the password once: another one's file starts them again.
    assert any("/run/keys/broker" in trigger for trigger in found["units"]["fileintel-api"]["restartTriggers"])


def test_single_values_of_a_unit_are_overridden_without_force(tmp_path: Path):
    module = tmp_path / "host.nix"
    module.write_text("""{
      services.fileintel.enable = true;
      systemd.services.fileintel-worker-main.serviceConfig = {
        TimeoutStopSec = 600;
        SystemCallFilter = [ "~@mount" ];
      };
    }""")
    service = _machine(module)["units"]["fileintel-worker-main"]["serviceConfig"]
    assert service["TimeoutStopSec"] == 600
    assert set(service["SystemCallFilter"]) == {"@system-service", "~@privileged", "~@mount"}


def test_a_broker_made_to_evict_behind_our_back_is_refused(tmp_path: Path):
    module = tmp_path / "host.nix"
    module.write_text("""
      { lib, ... }: {
        services.fileintel.enable = true;
        services.redis.servers.fileintel-broker.settings.maxmemory-policy = lib.mkForce "allkeys-lru";
      }
    """)
    with pytest.raises(ValueError, match="fileintel-broker.settings.maxmemory-policy is allkeys-lru"):
        _machine(module)


def test_the_templates_host():
    found = _machine(ROOT / "nix" / "template" / "configuration.nix")
    assert "fileintel-model-server" not in found["units"]
    worker = found["units"]["fileintel-worker-main"]
    assert worker["environment"]["CELERY_WORKER_CONCURRENCY"] == "8"
    assert worker["environment"]["OPENAI_BASE_URL"] == "http://vllm.example:8000/v1"
    assert worker["serviceConfig"]["EnvironmentFile"] == ["/etc/fileintel/environment"]


def _documented() -> list[str]:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```nix\n(.*?)```", text, re.DOTALL)
    return [part for block in blocks if "inputs." not in block for part in re.split(r"\n\n(?=#)", block)]


@pytest.mark.parametrize("part", _documented(), ids=lambda part: part.strip().splitlines()[0][:40])
def test_what_the_deployment_guide_shows_makes_a_host(tmp_path: Path, part: str):
    module = tmp_path / "host.nix"
    shown = part if re.sub(r"#.*", "", part).strip().startswith("{") else f"{{ {part} }}"
    module.write_text(f"{{ imports = [ {{ services.fileintel.enable = true; }} ({shown}) ]; }}")
    found = _machine(module)
    units = found["units"]
    assert "fileintel-worker-graphrag" in units
    _accepted(found)
    assert ("fileintel-model-server" in units) is ("OPENAI_BASE_URL" not in part)


def test_the_machines_of_the_vm_test_and_its_script():
    found = _evaluated("vm.nix")
    compile(found["testScript"], "testScript", "exec")
    machine, puller = found["nodes"]["machine"], found["nodes"]["puller"]
    assert machine["failed"] == puller["failed"] == []
    # Machines of a test find each other by either.
    assert machine["networks"] == ["192.168.1.0/24", "2001:db8:1::/64"]
    assert machine["limits"]["fileintel-worker-graphrag"] == "3G"
    assert machine["limits"]["fileintel-worker-main"] == "4G"
    assert set(puller["limits"]) == {"fileintel-worker-graphrag", "llm-server"}


def test_the_reference_of_the_options_is_current():
    command = [sys.executable, str(ROOT / "tools" / "render_options.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
