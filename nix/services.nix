# The process list of FileIntel as plain data; NixOS modules, compose.yaml and the devshell render it and know of no
# process themselves. Builtins only, so that it is evaluated without nixpkgs:
#
#   import ./services.nix {
#     workers = fromTOML (readFile ../fileintel/workers.toml);
#     settings = fromJSON (readFile ./settings.json);
#     overrides = { CELERY_GRAPHRAG_CONCURRENCY = 100; };
#   }
#
# `overrides` are settings by their environment names; a worker's pool, concurrency, memory_limit, memory_reservation
# and log_level in `workers` is the name of a setting, as in workers.toml, or a value. `hosts.model-server` is where the
# others find the embedded model server. The result:
#
#   settings         every setting's value as a string; "" where none is set
#   services.<name>  description
#                    argv
#                    environment
#                    secrets      names of variables it may need that the Nix store must not hold
#                    memoryMax, memoryReservation   as spelt in the settings, or null
#                    after        names
#                    once         whether it runs to its end
#                    ready        { exec } or { http } or null
#                    restart
#                    blobs        whether it needs the folder of uploaded files
#                    variables    which setting holds which of its values, where one does
#                    worker, pool, concurrency, queues, hostname   of a worker
#                    parameters   of postgres and redis-*: what their argv is made of
{
  workers,
  settings,
  overrides ? { },
  hosts ? { },
}:
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    elem
    filter
    hasAttr
    head
    isString
    listToAttrs
    mapAttrs
    match
    ;
  sizes = import ./sizes.nix;
  declared = settings.settings;
  comma = builtins.concatStringsSep ", ";
  fail = text: throw "fileintel: ${text}";
  filterAttrs = import ./filter-attrs.nix;

  inherit (import ./values.nix { inherit declared overrides; }) text values;
  embeddedModels = values.OPENAI_BASE_URL == "";

  # --- workers
  pools = declared.CELERY_WORKER_POOL.choices;
  isVariable = value: isString value && match "[A-Z][A-Z0-9_]*" value != null;
  resolved =
    where: value:
    if !isVariable value then
      text value
    else
      values.${value}
        or (fail "workers.toml: ${where}: ${value} is no variable of fileintel/settings.py");

  celeryWorkers = mapAttrs (
    name: entry:
    let
      read = key: resolved "worker ${name}" entry.${key};
    in
    {
      worker = name;
      inherit (entry) hostname queues;
      pool = read "pool";
      concurrency = builtins.fromJSON (read "concurrency");
      memoryMax = read "memory_limit";
      memoryReservation = read "memory_reservation";
      # Which setting holds what; a value that workers.toml fixes has none.
      variables = filterAttrs (_: isVariable) {
        inherit (entry) pool concurrency;
        memoryMax = entry.memory_limit;
        memoryReservation = entry.memory_reservation;
      };
      own = listToAttrs (
        map (v: {
          name = v;
          value = resolved "worker ${name}" v;
        }) entry.variables
      );
    }
  ) workers.workers;

  problems =
    concatMap workerProblems (attrValues celeryWorkers)
    ++ map (name: "the queue ${name} is served by no worker") (
      filter (name: !elem name (concatMap (w: w.queues) (attrValues celeryWorkers))) (
        attrNames workers.queues
      )
    )
    ++ (
      let
        policy = values.FILEINTEL_BROKER_MAXMEMORY_POLICY;
      in
      if policy == "noeviction" then
        [ ]
      else
        [
          (
            "FILEINTEL_BROKER_MAXMEMORY_POLICY=${policy}: it drops queued tasks when memory runs short; "
            + "only noeviction keeps them"
          )
        ]
    );

  workerProblems =
    worker:
    let
      unknown = filter (queue: !hasAttr queue workers.queues) worker.queues;
      computing = filter (queue: (workers.queues.${queue}.work or "") == "cpu") worker.queues;
      source = if worker.variables ? pool then "${worker.variables.pool}: " else "";
    in
    map (
      queue: "worker ${worker.worker} serves the queue ${queue}, which workers.toml does not define"
    ) unknown
    ++ (
      if elem worker.pool pools then
        [ ]
      else
        [ "worker ${worker.worker}: unknown pool ${worker.pool}, expected one of ${comma pools}" ]
    )
    ++ (
      # The reverse, waiting on processes, is only slow; computing on greenlets stops every one of them.
      if worker.pool == "gevent" && computing != [ ] then
        [
          "${source}the gevent worker ${worker.worker} may not serve ${comma computing}, whose tasks compute"
        ]
      else
        [ ]
    );

  # --- services
  modelHost = hosts.model-server or "127.0.0.1";
  modelPort = 8701;

  # What every process of ours is given: all that is set and no secret, but for what belongs to single workers.
  workersOwn = concatMap (entry: entry.variables) (attrValues workers.workers);
  common =
    filterAttrs (
      name: value: value != "" && declared.${name}.type != "secret" && !elem name workersOwn
    ) values
    // (
      if embeddedModels then
        { OPENAI_BASE_URL = "http://${modelHost}:${toString modelPort}/v1"; }
      else
        { }
    );
  # A URL that was given has no password in it and stands in the environment; the others come from outside.
  secret = filter (name: values.${name} == "");

  service =
    { description, argv, ... }@more:
    {
      environment = { };
      secrets = [ ];
      memoryMax = null;
      memoryReservation = null;
      after = [ ];
      once = false;
      ready = null;
      restart = true;
      blobs = false;
      variables = { };
    }
    // more;

  data = [
    "DATABASE_URL"
    "REDIS_URL"
    "FILEINTEL_CACHE_URL"
  ];
  models = if embeddedModels then [ "model-server" ] else [ ];

  workerService =
    worker:
    service {
      description = "FileIntel worker ${worker.worker} (${worker.pool})";
      argv = [
        "fileintel"
        "worker"
        worker.worker
      ];
      environment = common // workers.environment // worker.own;
      secrets = secret (
        data
        ++ [
          "OPENAI_API_KEY"
          "FILEINTEL_EMBEDDING_API_KEY"
        ]
      );
      # Also behind a cache that is away a worker works, slower.
      after = [
        "migrate"
        "redis-broker"
      ]
      ++ models;
      ready.exec = [
        "fileintel"
        "worker"
        worker.worker
        "--ping"
      ];
      # Greenlets wait for the LLM server; who parses is a worker of processes.
      blobs = worker.pool != "gevent";
      inherit (worker)
        memoryMax
        memoryReservation
        worker
        pool
        concurrency
        queues
        hostname
        variables
        ;
    };

  redis =
    parameters:
    [ "redis-server" ]
    ++ concatMap (name: [
      "--${name}"
      parameters.${name}
    ]) (attrNames parameters);
  redisService =
    description: parameters:
    service {
      inherit description parameters;
      argv = redis parameters;
      memoryMax = values.REDIS_MEMORY_LIMIT;
      variables = {
        memoryMax = "REDIS_MEMORY_LIMIT";
        parameters = if parameters ? maxmemory then { maxmemory = "REDIS_MAXMEMORY"; } else { };
      };
      # With -e an error, such as that of a wrong password, is a failure.
      ready.exec = [
        "redis-cli"
        "-e"
        "ping"
      ];
    };

  letters = word: filter (letter: isString letter && letter != "") (builtins.split "" word);
  lower = builtins.replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (
    letters "abcdefghijklmnopqrstuvwxyz"
  );
  # POSTGRES_SHARED_BUFFERS is Postgres's shared_buffers, and so are all of its group but the limit of its memory.
  tuningVariables = listToAttrs (
    map
      (name: {
        name = lower (builtins.substring 9 (-1) name);
        value = name;
      })
      (
        filter (name: declared.${name}.group == "postgres" && name != "POSTGRES_MEMORY_LIMIT") (
          attrNames declared
        )
      )
  );
  tuning = mapAttrs (
    _: name: (if declared.${name}.type == "size" then sizes.postgres else text) values.${name}
  ) tuningVariables;

  services = {
    postgres = service {
      description = "Postgres with pgvector for FileIntel";
      parameters = tuning;
      argv = [
        "postgres"
      ]
      ++ concatMap (name: [
        "-c"
        "${name}=${tuning.${name}}"
      ]) (attrNames tuning);
      memoryMax = values.POSTGRES_MEMORY_LIMIT;
      variables = {
        memoryMax = "POSTGRES_MEMORY_LIMIT";
        parameters = tuningVariables;
      };
      ready.exec = [
        "pg_isready"
        "--quiet"
        "--host=127.0.0.1"
        "--username=fileintel"
        "--dbname=fileintel"
      ];
    };

    redis-broker = redisService "Redis that carries FileIntel's messages" {
      # Queued messages survive a restart: an append-only file, written through every second, and no snapshots beside.
      appendonly = "yes";
      appendfsync = "everysec";
      save = "";
      maxmemory-policy = values.FILEINTEL_BROKER_MAXMEMORY_POLICY;
    };

    redis-cache = redisService "Redis that caches for FileIntel and may forget" {
      appendonly = "no";
      save = "";
      maxmemory = values.REDIS_MAXMEMORY;
      maxmemory-policy = "allkeys-lru";
    };

    migrate = service {
      description = "FileIntel database migrations";
      argv = [
        "fileintel"
        "migrate"
      ];
      environment = common;
      secrets = secret [ "DATABASE_URL" ];
      after = [ "postgres" ];
      once = true;
      restart = false;
    };

    api = service {
      description = "FileIntel API and web interface";
      argv = [
        "fileintel"
        "api"
      ];
      environment = common;
      secrets = secret data;
      after = [
        "migrate"
        "redis-broker"
      ];
      blobs = true;
      ready.http = {
        port = builtins.fromJSON values.FILEINTEL_API_PORT;
        path = "/health/ready";
      };
    };
  }
  // (
    if embeddedModels then
      {
        model-server = service {
          description = "FileIntel embedded model server";
          argv = [
            "fileintel"
            "model-server"
            "--host=${if modelHost == "127.0.0.1" then modelHost else "0.0.0.0"}"
            "--port=${toString modelPort}"
          ]
          # It has no key; the network it is reached by is the containers' own.
          ++ (if modelHost == "127.0.0.1" then [ ] else [ "--trust-network" ]);
          environment = common // workers.environment;
          ready.http = {
            port = modelPort;
            path = "/health";
          };
        };
      }
    else
      { }
  )
  // listToAttrs (
    map (worker: {
      name = "worker-${worker.worker}";
      value = workerService worker;
    }) (attrValues celeryWorkers)
  );
in
if problems != [ ] then
  fail (head problems)
else
  {
    settings = values;
    inherit services;
  }
