# The process list for one developer's machine, as a configuration of process-compose: databases in .dev/, all ports on
# loopback and beside the usual ones, the code as it stands in the working folder. Builtins only.
{
  overrides ? { },
  workers ? fromTOML (builtins.readFile ../fileintel/workers.toml),
}:
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    hasAttr
    head
    listToAttrs
    mapAttrs
    replaceStrings
    ;
  loaded = import ./load.nix { inherit overrides workers; };
  inherit (loaded) services;
  ports = {
    postgres = "5433";
    redis-broker = "6380";
    redis-cache = "6381";
  };
  # Set by the devshell; process-compose fills them in.
  folder = "\${DEV_FOLDER}";
  redis = port: "redis://:\${DEV_PASSWORD}@127.0.0.1:${port}/0";
  secret = {
    DATABASE_URL = "postgresql://fileintel:\${DEV_PASSWORD}@127.0.0.1:${ports.postgres}/fileintel";
    REDIS_URL = redis ports.redis-broker;
    FILEINTEL_CACHE_URL = redis ports.redis-cache;
    OPENAI_API_KEY = "\${OPENAI_API_KEY}";
    FILEINTEL_EMBEDDING_API_KEY = "\${FILEINTEL_EMBEDDING_API_KEY}";
  };
  quote =
    word:
    if builtins.match "[A-Za-z0-9_./:=-]+" word != null then
      word
    else
      "'${replaceStrings [ "'" ] [ "'\\''" ] word}'";
  command = argv: concatStringsSep " " (map quote argv);
  pairs = set: map (name: "${name}=${set.${name}}") (attrNames set);

  server = {
    postgres = service: {
      command = command (
        [ "nix/images/postgres.sh" ]
        ++ service.argv
        ++ [
          "-c"
          "port=${ports.postgres}"
          "-c"
          "listen_addresses=127.0.0.1"
        ]
      );
      environment = pairs {
        PGDATA = "${folder}/postgres";
        PGPORT = ports.postgres;
        POSTGRES_PASSWORD = "\${DEV_PASSWORD}";
      };
    };
    redis = name: service: {
      command = command (
        [ "nix/images/redis.sh" ]
        ++ service.argv
        ++ [
          "--port"
          ports.${name}
          "--bind"
          "127.0.0.1"
        ]
      );
      environment = pairs {
        REDIS_CONFIGURATION = "${folder}/${name}.conf";
        REDIS_DATA = "${folder}/${name}";
        REDIS_PASSWORD = "\${DEV_PASSWORD}";
        REDISCLI_AUTH = "\${DEV_PASSWORD}";
      };
    };
  };
  probed =
    name: exec:
    if name == "postgres" then
      exec ++ [ "--port=${ports.postgres}" ]
    else if hasAttr name ports then
      [
        (head exec)
        "-p"
        ports.${name}
      ]
      ++ builtins.tail exec
    else
      exec;

  process =
    name: service:
    (
      if head service.argv == "fileintel" then
        {
          command = command service.argv;
          environment = pairs (
            service.environment
            // {
              FILEINTEL_STATE_DIR = "${folder}/state";
            }
            // listToAttrs (
              map (variable: {
                name = variable;
                value = secret.${variable};
              }) service.secrets
            )
          );
        }
      else if name == "postgres" then
        server.postgres service
      else
        server.redis name service
    )
    // {
      inherit (service) description;
      working_dir = "${folder}/..";
      depends_on = listToAttrs (
        map (other: {
          name = other;
          value.condition =
            if services.${other}.once then "process_completed_successfully" else "process_healthy";
        }) (filter (other: hasAttr other services) service.after)
      );
      availability =
        if service.restart then
          {
            restart = "on_failure";
            backoff_seconds = 2;
          }
        else
          { restart = "no"; };
      shutdown.timeout_seconds = 30;
    }
    // (
      # A worker is asked through Celery, which takes long to load: on a developer's machine nothing waits for it.
      if service.ready == null || service ? worker then
        { }
      else
        {
          readiness_probe = {
            period_seconds = 3;
            timeout_seconds = 5;
            failure_threshold = 40;
          }
          // (
            if service.ready ? exec then
              { exec.command = command (probed name service.ready.exec); }
            else
              {
                http_get = {
                  host = "127.0.0.1";
                  scheme = "http";
                  port = toString service.ready.http.port;
                  inherit (service.ready.http) path;
                };
              }
          );
        }
    );
  data = {
    version = "0.5";
    processes = mapAttrs process services;
  };
in
{
  inherit data;
  text = import ./yaml.nix {
    first = [
      "version"
      "processes"
      "description"
      "command"
      "environment"
      "depends_on"
    ];
  } data;
}
