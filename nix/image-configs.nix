# What the OCI images run, as plain data: the config objects of the OCI image specification, from the process list.
# Builtins only. `programs` says where in the image things lie; nix/images.nix builds the images around these.
{
  services,
  settings,
  version,
  programs,
}:
let
  environment = set: map (name: "${name}=${set.${name}}") (builtins.attrNames set);
  second = 1000000000;
  probe = test: start: {
    Test = [ "CMD" ] ++ test;
    Interval = 30 * second;
    Timeout = 15 * second;
    StartPeriod = start * second;
    Retries = 3;
  };
  labels = title: description: licenses: {
    "org.opencontainers.image.title" = title;
    "org.opencontainers.image.description" = description;
    "org.opencontainers.image.version" = version;
    "org.opencontainers.image.licenses" = licenses;
  };
  state = "/var/lib/fileintel";
  app = services.api.environment // {
    FILEINTEL_API_HOST = "0.0.0.0";
    FILEINTEL_STATE_DIR = state;
    # The folder above is a volume, and not there in every container.
    HOME = "/tmp";
    LANG = "C.UTF-8";
    PATH = programs.path;
    # Celery asks for the time zone UTC by name and dies where there is none.
    PYTHONTZPATH = programs.zoneinfo;
    PYTHONUNBUFFERED = "1";
    SSL_CERT_FILE = programs.certificates;
  };
  server =
    {
      name,
      port,
      entrypoint,
      folder,
      variables ? { },
      licenses,
      signal,
    }:
    {
      Entrypoint = [ entrypoint ];
      Cmd = services.${name}.argv;
      Env = environment (
        {
          LANG = "C.UTF-8";
          PATH = programs.path;
        }
        // variables
      );
      User = "999:999";
      WorkingDir = folder;
      ExposedPorts."${port}/tcp" = { };
      Volumes.${folder} = { };
      Healthcheck = probe services.${name}.ready.exec 30;
      Labels = labels "fileintel-${name}" services.${name}.description licenses;
      StopSignal = signal;
    };
  redis =
    name:
    server {
      inherit name;
      port = "6379";
      entrypoint = programs.redisEntrypoint;
      folder = "/data";
      licenses = "BSD-3-Clause";
      signal = "SIGTERM";
    };
in
{
  app = {
    Entrypoint = [ "fileintel" ];
    # The health check is that of this command: a container that runs another one brings its own, as compose.yaml does.
    Cmd = builtins.tail services.api.argv;
    # Where the model server is, is a matter of the deployment.
    Env = environment (removeAttrs app [ "OPENAI_BASE_URL" ]);
    User = "1000:1000";
    WorkingDir = state;
    ExposedPorts."${settings.FILEINTEL_API_PORT}/tcp" = { };
    Volumes.${state} = { };
    Healthcheck = probe [ "python" "-c" (import ./probe.nix services.api.ready.http) ] 60;
    Labels = labels "fileintel" "FileIntel: API, workers, migrations and model server" "MIT";
    StopSignal = "SIGTERM";
  };
  postgres = server rec {
    name = "postgres";
    port = "5432";
    entrypoint = programs.postgresEntrypoint;
    folder = "/var/lib/postgresql/data";
    variables.PGDATA = folder;
    licenses = "PostgreSQL";
    # Postgres's fast stop: what is open is rolled back.
    signal = "SIGINT";
  };
  redis-broker = redis "redis-broker";
  redis-cache = redis "redis-cache";
}
