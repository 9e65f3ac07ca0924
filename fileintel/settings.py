"""Every setting of FileIntel, with type, default, group and one-line doc; the only reader of the environment.

Precedence: the process environment, then `<state_dir>/run/environment` (written by a running `fileintel up`), then the
default. A variable that is set to nothing counts as not set.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

# Plain pydantic: pydantic-settings reads nothing here that `layers` does not, and costs every command 0.3 s to import.
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from fileintel.errors import ConfigurationError

PREFIX = "FILEINTEL_"
# Read by the test suite from the same environment, and no settings of the program.
NOT_SETTINGS = frozenset({"FILEINTEL_NIXPKGS"})

GROUPS: dict[str, str] = {
    "services": "Services: leave a URL empty and `fileintel up` runs that service itself",
    "models": "Models: any OpenAI-compatible server; without one the embedded, extractive model answers",
    "storage": "Storage on disk",
    "api": "API, and how the command line finds it",
    "documents": "Documents and text units",
    "graph": "The knowledge graph (GraphRAG's own parameters)",
    "budgets": "What a build may cost: prices, when to ask before it, where to stop it (0: not)",
    "graphrag-worker": "The graphrag worker (gevent): waits for the LLM server",
    "main-worker": "The main worker (prefork): parsing, merging, clustering, embedding",
    "postgres": "Postgres",
    "redis": "Redis: a broker that never evicts, and a separate cache that may",
    "logging": "Logging",
}


class Bytes(str):
    """An amount of memory: keeps the spelling it was given (`20G`, `2gb`), `.bytes` is its value.

    Units are powers of 1024 whether written k, kb or kib; raises ValueError on anything else.
    """

    _FORM = re.compile(r"([0-9]+)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)
    __slots__ = ("bytes",)
    bytes: int

    def __new__(cls, spelling: str) -> Bytes:
        """Read a spelling; raises ValueError."""
        match = cls._FORM.fullmatch(spelling.strip())
        if match is None:
            raise ValueError("not a size")
        self = super().__new__(cls, spelling.strip())
        self.bytes = int(match[1]) * 1024 ** (" kmgt".index(match[2].lower()) if match[2] else 0)
        return self

    @property
    def for_postgres(self) -> str:
        """The size as Postgres reads it, which knows `2GB` and no `2G`."""
        return f"{self.bytes // 1024}kB"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strip_whitespace=True))


Pool = Literal["prefork", "gevent", "threads", "solo"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
MaxMemoryPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


def _own(group: str, default: Any, doc: str, **more: Any) -> Any:
    """Declare a setting of ours: its variable is FILEINTEL_ and the field's name."""
    return _declare(PREFIX, group, default, doc, **more)


def _shared(group: str, default: Any, doc: str, **more: Any) -> Any:
    """Declare a setting whose variable others know too: it has no prefix."""
    return _declare("", group, default, doc, **more)


def _declare(prefix: str, group: str, default: Any, doc: str, *, default_text: str = "", **more: Any) -> Any:
    extra = {"prefix": prefix, "group": group, "default_text": default_text, **more}
    # A URL may carry a password: it must not get into a log by way of repr().
    shown = not more.get("password_inside", False)
    if callable(default) and not isinstance(default, type):
        return Field(default_factory=default, description=doc, json_schema_extra=extra, repr=shown)
    return Field(default, description=doc, json_schema_extra=extra, repr=shown)


def default_state_dir() -> Path:
    """Where data lives unless FILEINTEL_STATE_DIR says otherwise: /var/lib for root, else the user's state folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/fileintel")
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "fileintel"


class Settings(BaseModel):
    """The settings in effect, frozen; built from what it is given alone: use `load()` to read the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # --- services
    database_url: str = _shared(
        "services", "", "Postgres with pgvector, postgresql://user:password@host:port/name", password_inside=True
    )
    redis_url: str = _shared(
        "services", "", "Redis (or Valkey) broker, redis://:password@host:port/0", password_inside=True
    )
    cache_url: str = _own("services", "", "Redis cache that may evict; empty: the broker", password_inside=True)
    database_pool_size: Count = _own("services", 20, "most Postgres connections of one process")

    # --- models
    openai_base_url: str = _shared("models", "", "chat server, with /v1; empty: the embedded model server")
    openai_api_key: SecretStr = _shared("models", SecretStr(""), "key of the chat server")
    chat_model: str = _own("models", "fileintel-extractive", "name of the chat model")
    chat_timeout_seconds: Seconds = _own("models", 600, "longest wait for one chat answer")
    embedding_model: str = _own("models", "all-MiniLM-L6-v2-int8", "name of the embedding model")
    embedding_dimensions: Count = _own("models", 384, "length of the embedding model's vectors")
    embedding_base_url: str = _own("models", "", "embedding server, with /v1; empty: OPENAI_BASE_URL")
    embedding_concurrency: Count = _own("models", 8, "embedding requests of one process at once")
    embedding_api_key: SecretStr = _own("models", SecretStr(""), "key of the embedding server; empty: OPENAI_API_KEY")

    # --- storage
    state_dir: Path = _own(
        "storage",
        default_state_dir,
        "folder of everything FileIntel keeps",
        default_text="/var/lib/fileintel as root, else $XDG_STATE_HOME/fileintel or ~/.local/state/fileintel",
    )
    blob_dir: Path = _own(
        "storage",
        lambda data: data["state_dir"] / "blobs" if "state_dir" in data else None,
        "folder of uploaded files, shared by the API and every main worker",
        default_text="blobs in FILEINTEL_STATE_DIR",
    )

    # --- api
    api_host: str = _own("api", "127.0.0.1", "address the API listens on")
    api_port: Port = _own("api", 8700, "port the API listens on")
    api_url: str = _own("api", "", "API the command line speaks to; empty: that of the running `fileintel up`")
    api_key: SecretStr = _own("api", SecretStr(""), "key the command line shows; empty: that of `fileintel up`")

    # --- documents
    max_document_bytes: Count = _own("documents", 209_715_200, "largest file taken, in bytes")
    parser_seconds: Seconds = _own("documents", 300, "longest time one document may take to parse")
    parser_memory: Bytes = _own("documents", "2G", "most memory one document may take to parse")
    text_unit_tokens: Count = _own("documents", 300, "most tokens of a text unit")
    text_unit_overlap: CountOrNone = _own("documents", 40, "tokens that neighbouring text units share")

    # --- graph
    entity_types: str = _own("graph", "organization,person,geo,event", "entity types to extract, comma-separated")
    extraction_format: Literal["tuples", "json"] = _own(
        "graph", "tuples", "how the LLM writes what it extracts: GraphRAG's tuples, or JSON by a schema"
    )
    max_gleanings: CountOrNone = _own("graph", 1, "times the LLM is asked for entities it missed (0 when embedded)")
    max_cluster_size: Count = _own("graph", 10, "entities above which a community is split further")
    summary_max_length: Count = _own("graph", 500, "words of an entity's or relationship's description")
    summary_max_input_tokens: Count = _own("graph", 4000, "tokens of descriptions shown for one summary")
    report_max_length: Count = _own("graph", 2000, "words of a community report")
    report_max_input_tokens: Count = _own("graph", 8000, "tokens of context shown for one community report")
    auto_build_seconds: CountOrNone = _own(
        "graph", 30, "seconds without a change after which a changed graph is built anew; 0: only when asked"
    )

    # --- budgets
    price_input: Amount = _own("budgets", 0, "price of a million tokens sent to the chat model; 0: unknown")
    price_output: Amount = _own("budgets", 0, "price of a million tokens the chat model writes; 0: unknown")
    confirm_above_calls: CountOrNone = _own("budgets", 0, "LLM calls above which a build is to be confirmed")
    confirm_above_cost: Amount = _own("budgets", 0, "cost above which a build is to be confirmed; needs prices")
    budget_calls: CountOrNone = _own("budgets", 0, "LLM calls at which a build stops, to be continued on request")
    budget_cost: Amount = _own("budgets", 0, "cost at which a build stops, likewise; needs prices")

    # --- graphrag worker
    celery_graphrag_concurrency: Count = _shared("graphrag-worker", 200, "most LLM calls in flight of the worker")
    celery_graphrag_memory_limit: Bytes = _shared("graphrag-worker", "20G", "memory over which it is killed")
    celery_graphrag_memory_reservation: Bytes = _shared("graphrag-worker", "2G", "memory kept for it")
    gevent_resolver: Literal["ares", "thread", "block", "dnspython"] = _shared(
        "graphrag-worker", "ares", "how gevent resolves host names"
    )
    gevent_threadpool_size: Count = _shared("graphrag-worker", 50, "real threads gevent may use")
    pythonmalloc: Literal["malloc", "pymalloc", "default", "debug"] = _shared(
        "graphrag-worker", "malloc", "allocator of the worker's Python; malloc gives memory back"
    )

    # --- main worker
    celery_worker_pool: Pool = _shared("main-worker", "prefork", "Celery pool of the worker; gevent is refused")
    celery_worker_concurrency: Count = _shared("main-worker", 4, "processes of the worker; 8 on a 64 GB host")
    celery_worker_memory_limit: Bytes = _shared("main-worker", "16G", "memory over which it is killed")
    celery_worker_memory_reservation: Bytes = _shared("main-worker", "2G", "memory kept for it")

    # --- postgres
    postgres_max_connections: Count = _shared("postgres", 500, "max_connections")
    postgres_shared_buffers: Bytes = _shared("postgres", "2GB", "shared_buffers")
    postgres_effective_cache_size: Bytes = _shared("postgres", "6GB", "effective_cache_size")
    postgres_work_mem: Bytes = _shared("postgres", "32MB", "work_mem, per sort or hash of each connection")
    postgres_maintenance_work_mem: Bytes = _shared("postgres", "512MB", "maintenance_work_mem")
    postgres_wal_buffers: Bytes = _shared("postgres", "16MB", "wal_buffers")
    postgres_checkpoint_completion_target: Annotated[float, Field(gt=0, le=1)] = _shared(
        "postgres", 0.9, "checkpoint_completion_target"
    )
    postgres_random_page_cost: Annotated[float, Field(gt=0)] = _shared("postgres", 1.1, "random_page_cost")
    postgres_memory_limit: Bytes = _shared("postgres", "8G", "memory over which it is killed")

    # --- redis
    redis_maxmemory: Bytes = _shared("redis", "2gb", "maxmemory of the cache")
    redis_memory_limit: Bytes = _shared("redis", "3G", "memory over which each of the two servers is killed")
    broker_maxmemory_policy: MaxMemoryPolicy = _own(
        "redis", "noeviction", "maxmemory-policy of the broker; an evicting one loses tasks and is refused"
    )

    # --- logging
    log_level: LogLevel = _own("logging", "INFO", "least severe message that is logged")

    @property
    def entity_type_list(self) -> list[str]:
        """`entity_types` as a list."""
        return [kind.strip() for kind in self.entity_types.split(",") if kind.strip()]

    @property
    def environment_file(self) -> Path:
        """Where a running `fileintel up` says how its services are reached."""
        return environment_file(self.state_dir)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("every setting is declared by _own or _shared")
    return dict(extra)


def variable_of(name: str) -> str:
    """The environment variable of the field `name`."""
    return str(_extra(Settings.model_fields[name])["prefix"]) + name.upper()


FIELD_OF: dict[str, str] = {variable_of(name): name for name in Settings.model_fields}


def is_secret(name: str) -> bool:
    """Whether the field `name` must never be shown."""
    return Settings.model_fields[name].annotation is SecretStr


def has_password_inside(name: str) -> bool:
    """Whether the field `name` is a URL that may carry a password."""
    return bool(_extra(Settings.model_fields[name]).get("password_inside"))


def type_of(name: str) -> str:
    """The type of the field `name` in one word: string, secret, path, size, integer, number or choice."""
    annotation: Any = Settings.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return "choice"
    names = {str: "string", SecretStr: "secret", Path: "path", Bytes: "size", int: "integer", float: "number"}
    return names[annotation]


def choices_of(name: str) -> tuple[str, ...]:
    """The values the field `name` may have, if its type is a choice."""
    annotation: Any = Settings.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def bounds_of(name: str) -> dict[str, float]:
    """The bounds of the field `name`'s number, by their JSON Schema names."""
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    metadata = Settings.model_fields[name].metadata
    return {words[key]: getattr(item, key) for item in metadata for key in words if hasattr(item, key)}


def expected_form(name: str) -> str:
    """What a value of the field `name` looks like, in words."""
    kind, bounds = type_of(name), bounds_of(name)
    if kind == "choice":
        return "one of " + ", ".join(choices_of(name))
    if kind == "size":
        return "a size such as 512M, 20G or 2gb"
    if kind in ("integer", "number"):
        text = "a whole number" if kind == "integer" else "a number"
        text += f" from {bounds['minimum']}" if "minimum" in bounds else ""
        text += f" over {bounds['exclusiveMinimum']}" if "exclusiveMinimum" in bounds else ""
        return text + (f" up to {bounds['maximum']}" if "maximum" in bounds else "")
    return {"path": "a folder's path"}.get(kind, "text")


def environment_file(state_dir: Path) -> Path:
    """The file in which a running `fileintel up` says how its services are reached."""
    return state_dir / "run" / "environment"


def read_environment_file(path: Path) -> dict[str, str]:
    """Read KEY=VALUE lines; a file that is not there has none. Raises ConfigurationError on any other trouble."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not sign:
            raise ConfigurationError(f"{path}, line {number}: expected NAME=VALUE")
        values[name.strip()] = value.strip()
    return values


def refuse_unknown(environment: Mapping[str, str], where: str) -> None:
    """Raise ConfigurationError if a FILEINTEL_… name in `environment` is none of ours."""
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in FIELD_OF or variable in NOT_SETTINGS:
            continue
        near = difflib.get_close_matches(variable, FIELD_OF, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "`fileintel config show` lists all names"
        raise ConfigurationError(f"{variable} in {where} is no setting of FileIntel; {hint}")


def read(environment: Mapping[str, str], beneath: Mapping[str, str] | None = None) -> Settings:
    """Build settings from variables, those in `environment` before those `beneath` it; raises ConfigurationError."""
    merged = {**(beneath or {}), **{key: value for key, value in environment.items() if value.strip()}}
    given = {name: merged[variable] for variable, name in FIELD_OF.items() if merged.get(variable, "").strip()}
    for name in ("state_dir", "blob_dir"):
        if name in given:
            given[name] = os.path.abspath(os.path.expanduser(given[name]))
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic converts the strings
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        hidden = is_secret(name) or has_password_inside(name)
        value = "" if hidden else f", not {given.get(name, '')!r}"
        # Without `from`: pydantic's own text repeats the value, which may be a secret.
        raise ConfigurationError(f"{variable_of(name)}: expected {expected_form(name)}{value}") from None


@lru_cache(maxsize=1)
def load() -> Settings:
    """Return the settings in effect, read once per process; raises ConfigurationError naming the variable."""
    return read(*layers())


def require(settings: Settings, *names: str) -> None:
    """Raise ConfigurationError for the first of these servers' addresses that is not known."""
    for name in names:
        if not getattr(settings, name):
            raise ConfigurationError(
                f"{variable_of(name)} is not set and no `fileintel up` is running: start one, or set it"
            )


def layers() -> tuple[dict[str, str], dict[str, str]]:
    """The process environment and the variables of a running `fileintel up`, checked for unknown names."""
    environment = dict(os.environ)
    refuse_unknown(environment, "the environment")
    path = environment_file(read({k: v for k, v in environment.items() if k == "FILEINTEL_STATE_DIR"}).state_dir)
    written = read_environment_file(path)
    refuse_unknown(written, str(path))
    return environment, written
