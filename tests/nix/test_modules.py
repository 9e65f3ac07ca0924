"""The NixOS modules: their logic by plain evaluation, their units by systemd's own tools.

Nothing here needs nixpkgs. tests/nix/test_machines.py asks the same of whole machines where a nixpkgs is at hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deployment_defaults import DESIGN, GEVENT

from fileintel import topology
from fileintel.settings import FIELD_OF, Bytes, read

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "nix" / "modules"
PROGRAM = f"{Path(sys.executable).parent}/fileintel"
# systemd 254 knows them, Debian 12's 252 says so and goes on.
NEWER = {"RestartSteps", "RestartMaxDelaySec"}

QUESTIONS = (
    'workers.questions = { pool = "gevent"; queues = [ "graphrag_queries" ]; concurrency = 50; memoryMax = "5G"; };'
)


def nix(expression: str) -> Any:
    """Evaluate an expression; raises ValueError with Nix's message."""
    command = ["nix-instantiate", "--eval", "--strict", "--json", "-E", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


def plan(options: str = "") -> Any:
    """The processes of a host with the given options."""
    return nix(f"builtins.removeAttrs (import {MODULES}/plan.nix {{ {options} }}) []")


def units(options: str = "", more: str = "") -> dict[str, Any]:
    """The units of our processes on such a host, as values of systemd.services."""
    return dict(
        nix(f"""
          let
            plan = import {MODULES}/plan.nix {{ {options} }};
            units = import {MODULES}/units.nix;
            unit = name: units.unit name plan.services.${{name}} ({{
              programs = {{ fileintel = "{PROGRAM}"; python = "{sys.executable}"; }};
              user = "fileintel"; group = "fileintel"; stateDir = "/var/lib/fileintel";
              credentials = {{ REDIS_URL = "/run/keys/redis"; OPENAI_API_KEY = "/run/keys/openai"; }};
              launch = "/bin/true";
              local = [ "postgres" "redis-broker" "redis-cache" "migrate" "model-server" ];
            }} // {{ {more} }});
            value = name: let made = unit name; in made // {{ text = units.text made; }};
            names = builtins.filter (n: !builtins.elem n [ "postgres" "redis-broker" "redis-cache" ])
              (builtins.attrNames plan.services);
          in builtins.listToAttrs (map (name: {{ name = "fileintel-${{name}}"; value = value name; }}) names)
        """)
    )


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return units()


@pytest.mark.parametrize("path", sorted(MODULES.glob("*.nix")), ids=lambda path: path.name)
def test_the_modules_parse(path: Path):
    done = subprocess.run(["nix-instantiate", "--parse", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_units_slow_down_before_they_are_killed(defaults: dict[str, Any]):
    high = {name: unit["serviceConfig"].get("MemoryHigh") for name, unit in defaults.items()}
    assert (high["fileintel-worker-graphrag"], high["fileintel-worker-main"]) == ("18G", "14745M")


def test_a_worker_is_started_by_its_name(defaults: dict[str, Any]):
    for name in ("graphrag", "main"):
        assert defaults[f"fileintel-worker-{name}"]["serviceConfig"]["ExecStart"].endswith(f"{PROGRAM} worker {name}")


def test_celerys_command_line_is_that_of_topology():
    settings = read({"FILEINTEL_LOG_LEVEL": "DEBUG", "CELERY_WORKER_CONCURRENCY": "6"})
    found = plan('settings = { FILEINTEL_LOG_LEVEL = "DEBUG"; CELERY_WORKER_CONCURRENCY = 6; };')
    for name in topology.load().workers:
        assert found["celeryArgv"][name] == ["python", *topology.worker_argv(name, settings)[1:]]


def test_order_migrations_first_and_behind_what_runs_on_this_host(defaults: dict[str, Any]):
    assert "postgresql.target" in defaults["fileintel-migrate"]["after"]
    assert defaults["fileintel-migrate"]["serviceConfig"]["Type"] == "oneshot"
    for name, unit in defaults.items():
        if name not in ("fileintel-migrate", "fileintel-model-server"):
            assert "fileintel-migrate.service" in unit["after"], name
            assert "redis-fileintel-broker.service" in unit["after"], name
        # What nothing wants would not be there to be ordered after; none is required, so that none stops another.
        assert unit["after"] == unit["wants"] and "requires" not in unit
    alone = units(more='local = [ "migrate" ];')["fileintel-worker-graphrag"]["after"]
    assert alone == ["network-online.target", "fileintel-migrate.service"]


def test_failing_units_come_back_later_and_later(defaults: dict[str, Any]):
    for name, unit in defaults.items():
        service = unit["serviceConfig"]
        assert service["Restart"] == ("on-failure" if name == "fileintel-migrate" else "always")
        assert (service["RestartSec"], service["RestartSteps"], service["RestartMaxDelaySec"]) == (2, 5, 60)
        assert unit["unitConfig"]["StartLimitIntervalSec"] == 0
        assert service["Slice"] == "fileintel.slice"
    assert defaults["fileintel-worker-main"]["serviceConfig"]["OOMPolicy"] == "continue"
    assert defaults["fileintel-worker-graphrag"]["serviceConfig"]["OOMPolicy"] == "kill"
    assert nix(f'(import {MODULES}/units.nix).slice [ "2G" "512M" null ]')["sliceConfig"] == {"MemoryLow": "2560M"}


def test_a_third_worker_takes_what_it_does_not_say_from_its_kind():
    unit = units(QUESTIONS)["fileintel-worker-questions"]
    command = unit["serviceConfig"]["ExecStart"]
    assert f"/bin/true {sys.executable} -m celery -A fileintel.tasks.app worker --pool=gevent " in command
    assert "--concurrency=50 " in command
    assert "--queues=graphrag_queries --hostname=questions_gevent@%%h --prefetch-multiplier=4" in command
    assert [unit["serviceConfig"][key] for key in ("MemoryMax", "MemoryLow")] == ["5G", "2G"]
    # The limiter of LLM calls goes by these; elsewhere they stay the graphrag worker's.
    assert unit["environment"]["CELERY_GRAPHRAG_CONCURRENCY"] == "50"
    assert {name: unit["environment"][name] for name in GEVENT} == GEVENT
    assert units(QUESTIONS)["fileintel-worker-graphrag"]["environment"]["CELERY_GRAPHRAG_CONCURRENCY"] == "200"


def test_a_worker_with_other_queues_than_workers_toml_gets_the_whole_command_line():
    options = """
      workers.main.queues = [ "default" "document_processing" "llm_processing" "rag_processing" ];
      workers.embedding = {
        queues = [ "embedding_processing" ];
        concurrency = 2; memoryMax = "4G"; memoryReservation = "1G";
      };
    """
    found = units(options)
    assert (
        "--queues=default,document_processing,llm_processing,rag_processing "
        in found["fileintel-worker-main"]["serviceConfig"]["ExecStart"]
    )
    embedding = found["fileintel-worker-embedding"]["serviceConfig"]
    assert "--pool=prefork --concurrency=2 --queues=embedding_processing" in embedding["ExecStart"]
    assert embedding["ExecStart"].endswith(f"--max-memory-per-child={4 * 1024**3 * 8 // 10 // 2 // 1024}")
    assert embedding["MemoryLow"] == "1G"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            'workers.main.queues = [ "default" "embeding_processing" ];',
            "worker main serves the queue embeding_processing, which workers.toml does not define",
        ),
        ('workers.main.queues = [ "default" ];', "the queue document_processing is served by no worker"),
        (
            'workers.x = { pool = "gevent"; queues = [ "default" ]; };',
            "the queue default is served by two pools, of main and x",
        ),
        (
            'settings.CELERY_WORKER_POOL = "gevent";',
            "CELERY_WORKER_POOL: the gevent worker main may not serve default",
        ),
        ('workers.x.pool = "gevent";', "worker x: queues is not set"),
        (
            'workers.x = { pool = "gevent"; queues = [ "graphrag_queries" ]; hostname = "graphrag_gevent@%h"; };',
            "two workers have the host name graphrag_gevent@%h",
        ),
        ('workers.Q = { queues = [ "default" ]; };', "a name is lower-case letters, digits and -"),
        (
            'workers.main.memoryReservation = "17G";',
            "worker main: memoryReservation 17G is more than memoryMax 16G",
        ),
        (
            'settings.FILEINTEL_BROKER_MAXMEMORY_POLICY = "allkeys-lru";',
            "it drops queued tasks when memory runs short; only noeviction keeps them",
        ),
        ('settings.OPENAI_API_KEY = "sk-1";', "OPENAI_API_KEY holds a secret, and everybody can read the Nix store"),
        (
            'settings.DATABASE_URL = "postgresql://me:secret@db/x";',
            "DATABASE_URL holds a secret, and everybody can read the Nix store",
        ),
        ('settings.HF_TOKEN = "hf_1";', "HF_TOKEN holds a secret, and everybody can read the Nix store"),
        (
            'settings.OPENAI_BASE_URL = "http://me:pw@gpu:8000/v1";',
            "OPENAI_BASE_URL holds a secret, and everybody can read the Nix store",
        ),
        (
            'settings.HTTPS_PROXY = "http://me:pw@proxy:3128";',
            "HTTPS_PROXY holds a secret, and everybody can read the Nix store",
        ),
        (
            'workers.main.environment.PGPASSWORD = "pw";',
            "PGPASSWORD holds a secret, and everybody can read the Nix store",
        ),
        (
            'workers.main.environment.OPENAI_API_KEY = "sk-1";',
            "OPENAI_API_KEY holds a secret, and everybody can read the Nix store",
        ),
        (
            'workers.main.environment.FILEINTEL_LOG_LEVL = "DEBUG";',
            "FILEINTEL_LOG_LEVL is no setting of FileIntel",
        ),
        ("settings.FILEINTEL_LOG_LEVL = 1;", "FILEINTEL_LOG_LEVL is no setting of FileIntel"),
        ("settings.CELERY_WORKER_CONCURRENCY = 0;", "CELERY_WORKER_CONCURRENCY: expected a whole number from 1"),
    ],
)
def test_what_cannot_work_fails_with_our_message(options: str, message: str):
    with pytest.raises(ValueError) as caught:
        plan(options)
    assert message in str(caught.value)


def test_a_secret_must_not_lie_in_the_store():
    inside = nix(
        f'map (import {MODULES}/units.nix).inStore [ "/nix/store/x-key" "/nix/store" "/run/key" "/nix/stored" ]'
    )
    assert inside == [True, True, False, False]


def test_a_name_like_a_secrets_that_is_none_is_handed_on():
    found = units('settings.TOKENIZERS_PARALLELISM = "false"; workers.main.environment.FILEINTEL_LOG_LEVEL = "DEBUG";')
    assert found["fileintel-api"]["environment"]["TOKENIZERS_PARALLELISM"] == "false"
    levels = {name: found[f"fileintel-{name}"]["environment"]["FILEINTEL_LOG_LEVEL"] for name in ("worker-main", "api")}
    assert levels == {"worker-main": "DEBUG", "api": "INFO"}


def test_other_variables_are_handed_on_and_secrets_are_credentials_of_those_who_need_them():
    found = units('settings.HTTPS_PROXY = "http://proxy:3128";')
    assert all(unit["environment"]["HTTPS_PROXY"] == "http://proxy:3128" for unit in found.values())
    given = {name: unit["serviceConfig"].get("LoadCredential", []) for name, unit in found.items()}
    both = ["OPENAI_API_KEY:/run/keys/openai", "REDIS_URL:/run/keys/redis"]
    assert given == {
        "fileintel-api": both[1:],
        "fileintel-migrate": [],
        "fileintel-model-server": [],
        "fileintel-worker-graphrag": both,
        "fileintel-worker-main": both,
    }
    assert not any("/run/keys" in json.dumps(unit["environment"]) for unit in found.values())


@pytest.mark.parametrize(
    ("field", "value", "variable"),
    [
        ("memoryMax", '"24G"', "CELERY_GRAPHRAG_MEMORY_LIMIT"),
        ("memoryReservation", '"3G"', "CELERY_GRAPHRAG_MEMORY_RESERVATION"),
        ("concurrency", "300", "CELERY_GRAPHRAG_CONCURRENCY"),
    ],
)
def test_one_changed_field_changes_unit_and_compose_alike(field: str, value: str, variable: str):
    by_option, by_setting = (
        units(options)["fileintel-worker-graphrag"]
        for options in (f"workers.graphrag.{field} = {value};", f"settings.{variable} = {value};")
    )
    assert by_option == by_setting
    shown = value.strip('"')
    assert by_option["environment"][variable] == shown
    key = {"memoryMax": "MemoryMax", "memoryReservation": "MemoryLow"}.get(field)
    assert key is None or by_option["serviceConfig"][key] == shown
    text = nix(f"(import {ROOT}/nix/compose.nix {{ overrides.{variable} = {value}; }}).text")
    assert f"${{{variable}:-{shown}}}" in text
    assert f"${{{variable}:-{shown}}}" not in nix(f"(import {ROOT}/nix/compose.nix {{ }}).text")


def _on_disk(folder: Path, found: dict[str, Any]) -> list[str]:
    for name, unit in found.items():
        (folder / f"{name}.service").write_text(unit["text"])
    (folder / "fileintel.slice").write_text("[Unit]\nDescription=FileIntel\n[Slice]\nMemoryLow=4G\n")
    return [f"./{name}.service" for name in found]


def _verify(folder: Path, names: list[str]) -> list[str]:
    command = ["systemd-analyze", "verify", "--man=no", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    # Its exit code is 0 whatever key it does not know.
    complaints = [line for line in done.stderr.splitlines() if str(folder) in line or "fileintel" in line]
    return [line for line in complaints if not any(f"'{key}'" in line for key in NEWER)]


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_accepts_every_unit(tmp_path: Path):
    names = _on_disk(tmp_path, units(QUESTIONS))
    assert _verify(tmp_path, names) == []
    # And this is how it would show.
    broken = (tmp_path / names[0]).read_text().replace("ProtectClock", "ProtectTime")
    (tmp_path / "fileintel-broken.service").write_text(broken)
    assert any("ProtectTime" in line for line in _verify(tmp_path, ["./fileintel-broken.service"]))


@needs_systemd
def test_every_unit_is_hardened(tmp_path: Path):
    for name in _on_disk(tmp_path, units(QUESTIONS)):
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        assert level and float(level[1]) <= 2.0, done.stdout
        assert done.returncode == 0


def test_arguments_reach_the_program_as_they_are():
    words = ["/bin/echo", "a b", "100%", "$HOME", 'say "x"', "back\\slash", "main@%h"]
    given = nix(f"(import {MODULES}/units.nix).command (builtins.fromJSON ''{json.dumps(words)}'')")
    assert given == '/bin/echo "a b" 100%% $$HOME "say \\"x\\"" "back\\\\slash" main@%%h'


# --- the scripts of the units


def _script(path: Path, expression: str) -> Path:
    path.write_text("#!/usr/bin/env bash\n" + nix(expression))
    path.chmod(0o755)
    return path


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def test_the_launcher_makes_variables_of_credentials(tmp_path: Path):
    launcher = _script(tmp_path / "launch", f"(import {MODULES}/scripts.nix).launcher")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "OPENAI_API_KEY").write_text("sk-$HOME 'x'\n")
    show = [launcher, "printenv", "OPENAI_API_KEY", "REDIS_URL"]
    bare = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    told = {**bare, "REDIS_URL": "redis://x", "CREDENTIALS_DIRECTORY": str(tmp_path / "keys")}
    assert subprocess.run(show, env=told, capture_output=True, text=True).stdout == "sk-$HOME 'x'\nredis://x\n"
    # What the environment file says stands above it.
    overruled = {**told, "OPENAI_API_KEY": "own"}
    assert subprocess.run(show, env=overruled, capture_output=True, text=True).stdout == "own\nredis://x\n"
    del told["CREDENTIALS_DIRECTORY"]
    assert subprocess.run(show, env=told, capture_output=True, text=True).stdout == "redis://x\n"


def test_passwords_are_made_once_and_urls_follow_the_server(tmp_path: Path):
    def make(port: int, host: str = "127.0.0.1") -> None:
        servers = f'[ {{ name = "fileintel-broker"; host = "{host}"; port = {port}; variable = "REDIS_URL"; }} ]'
        script = _script(tmp_path / "make", f"(import {MODULES}/scripts.nix).makeSecrets {servers}")
        state = tmp_path / "state"
        state.mkdir(exist_ok=True)
        subprocess.run([script], check=True, env={**os.environ, "STATE_DIRECTORY": str(state)})

    make(6379)
    password = (tmp_path / "state" / "fileintel-broker.password").read_text()
    assert len(password) > 30 and password.isalnum()
    url = tmp_path / "state" / "REDIS_URL"
    assert url.read_text() == f"redis://:{password}@127.0.0.1:6379/0"
    make(6390, "10.0.0.5")
    assert url.read_text() == f"redis://:{password}@10.0.0.5:6390/0"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()} == {0o600}


def test_a_password_that_was_given_is_in_the_url_as_a_url_spells_it(tmp_path: Path):
    servers = '[ { name = "fileintel-cache"; host = "127.0.0.1"; port = 6380; variable = "FILEINTEL_CACHE_URL"; } ]'
    script = _script(tmp_path / "make", f"(import {MODULES}/scripts.nix).makeSecrets {servers}")
    for folder in ("state", "given"):
        (tmp_path / folder).mkdir()
    (tmp_path / "given" / "fileintel-cache").write_text("a/b c%é'\n", encoding="utf-8")
    told = {"STATE_DIRECTORY": str(tmp_path / "state"), "CREDENTIALS_DIRECTORY": str(tmp_path / "given")}
    subprocess.run([script], check=True, env={**os.environ, **told})
    url = (tmp_path / "state" / "FILEINTEL_CACHE_URL").read_text()
    assert url == "redis://:a%2Fb%20c%25%C3%A9%27@127.0.0.1:6380/0"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["FILEINTEL_CACHE_URL"]


@pytest.mark.parametrize(
    ("bind", "reached", "is_open"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("::1", "[::1]", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("10.0.0.5 127.0.0.1", "127.0.0.1", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("fd00::5", "[fd00::5]", True),
    ],
)
def test_a_server_is_reached_where_it_listens(bind: str, reached: str, is_open: bool):
    found = nix(f'let units = import {MODULES}/units.nix; in [ (units.reached "{bind}") (units.isOpen "{bind}") ]')
    assert found == [reached, is_open]


def test_the_first_admin_key_is_made_where_there_is_none(tmp_path: Path):
    _program(tmp_path / "fileintel", f'echo "the database is at 0001"; cat {tmp_path}/answer')
    script = _script(
        tmp_path / "key", f'(import {MODULES}/scripts.nix).makeAdminKey "{tmp_path}" "{tmp_path}/fileintel"'
    )
    kept = tmp_path / "admin.key"
    # There are keys already: none is printed, and none is kept.
    (tmp_path / "answer").write_text("")
    subprocess.run([script], check=True)
    assert not kept.exists()
    (tmp_path / "answer").write_text("fi_secret\n")
    subprocess.run([script], check=True)
    assert kept.read_text() == "fi_secret\n" and stat.S_IMODE(kept.stat().st_mode) == 0o600
    (tmp_path / "answer").write_text("fi_other\n")
    subprocess.run([script], check=True)
    assert kept.read_text() == "fi_secret\n"


def test_clients_run_as_the_caller_and_what_needs_secrets_as_the_services_do(tmp_path: Path):
    _program(tmp_path / "fileintel", 'echo "$FILEINTEL_API_URL $FILEINTEL_STATE_DIR $*"')
    _program(tmp_path / "systemd-run", "printf '%s\\n' \"$@\"")
    script = _script(
        tmp_path / "manage",
        f"""(import {MODULES}/scripts.nix).manage {{
          systemdRun = "{tmp_path}/systemd-run"; fileintel = "{tmp_path}/fileintel"; launch = "/launch";
          user = "fileintel"; group = "fileintel"; stateDir = "/srv/f"; apiUrl = "http://127.0.0.1:8700";
          environment.ENTITY = "it's a $HOME"; environmentFiles = [ "/run/f" ]; credentials.REDIS_URL = "/run/r";
        }}""",
    )

    def run(*words: str) -> list[str]:
        bare = {name: value for name, value in os.environ.items() if not name.startswith("FILEINTEL_")}
        return subprocess.run(
            [script, *words], capture_output=True, text=True, check=True, env=bare
        ).stdout.splitlines()

    assert run("query", "a b", "who?") == ["http://127.0.0.1:8700 /srv/f query a b who?"]
    given = run("config", "check")
    assert given[-5:] == ["--", "/launch", f"{tmp_path}/fileintel", "config", "check"]
    assert {"--setenv=ENTITY=it's a $HOME", "--property=LoadCredential=REDIS_URL:/run/r"} < set(given)
    assert {"--property=User=fileintel", "--property=EnvironmentFile=/run/f"} < set(given)


def test_backups_are_whole_and_the_oldest_go(tmp_path: Path):
    blobs, copies, programs = tmp_path / "blobs", tmp_path / "copies", tmp_path / "bin"
    for folder in (blobs / "ab" / "cd", blobs / "incoming", programs):
        folder.mkdir(parents=True)
    (blobs / "ab" / "cd" / "abcd").write_text("document")
    (blobs / "incoming" / "upload-1").write_text("half of a doc")
    dump = 'echo "dump of ${!#} ${PGPASSWORD:-}" > "${a#--file=}"'
    _program(programs / "pg_dump", f"for a; do case $a in --file=*) {dump};; esac; done")
    _program(programs / "date", f"cat {tmp_path}/now")
    script = _script(
        tmp_path / "backup",
        f'(import {MODULES}/scripts.nix).makeBackup {{ location = "{copies}"; keep = 2; blobDir = "{blobs}"; }}',
    )
    url = r"postgresql+psycopg2://me:a%40b\c%3A@db:5432/x?sslmode=require"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "DATABASE_URL": "postgresql:///x"}
    for day in (1, 2, 3):
        environment["DATABASE_URL"] = url if day == 2 else "postgresql:///x"
        (tmp_path / "now").write_text(f"2026010{day}T000000Z")
        subprocess.run([script], check=True, env=environment)
    assert sorted(path.name for path in copies.glob("*.dump*")) == [
        "fileintel-20260102T000000Z.dump",
        "fileintel-20260103T000000Z.dump",
    ]
    made = [path.read_text() for path in sorted(copies.glob("*.dump"))]
    # A password is no argument, for arguments are everybody's to read.
    assert made == ["dump of postgresql://me@db:5432/x?sslmode=require a@b\\c:\n", "dump of postgresql:///x \n"]
    kept = [str(path.relative_to(copies)) for path in copies.rglob("*") if path.is_file() and path.suffix != ".dump"]
    assert kept == ["blobs/ab/cd/abcd"] and (copies / kept[0]).read_text() == "document"
    _program(programs / "pg_dump", "exit 1")
    assert subprocess.run([script], check=False, env=environment).returncode != 0
    assert len(list(copies.glob("*.dump"))) == 2


# --- hosts without NixOS


def test_the_unit_files_in_docs_are_current_and_accepted(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "render_units.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "docs" / "systemd").glob("fileintel*"):
        # The program is not there where the tests run.
        (tmp_path / path.name).write_text(
            path.read_text().replace("/opt/fileintel/bin/", "/bin/true /opt/fileintel/bin/")
        )
    if shutil.which("systemd-analyze"):
        assert _verify(tmp_path, [f"./{path.name}" for path in tmp_path.glob("*.service")]) == []


def test_every_setting_of_the_design_is_one_of_settings_py():
    assert {*DESIGN, *GEVENT} <= FIELD_OF.keys()
    defaults = read({})
    for name, value in DESIGN.items():
        found = getattr(defaults, FIELD_OF[name])
        assert str(found) == value or (isinstance(found, Bytes) and found.bytes == Bytes(value).bytes)
