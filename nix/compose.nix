# The process list as compose.yaml: every setting can be set in .env under its own name and has its default here.
# Builtins only; `nix build .#compose` and tools/render_compose.py write the same text.
{
  overrides ? { },
  workers ? fromTOML (builtins.readFile ../fileintel/workers.toml),
}:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    hasAttr
    head
    listToAttrs
    mapAttrs
    tail
    ;
  loaded = import ./load.nix {
    inherit overrides workers;
    hosts.model-server = "model-server";
  };
  inherit (loaded) declared services version;
  state = "/var/lib/fileintel";
  toAttrs =
    f: names:
    listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );

  # What .env may change, and what it is when .env does not.
  variable = name: value: "\${${name}:-${value}}";
  needed = name: "\${${name}:?set ${name} in .env}";

  # --- environment
  # Said in the container alone: .env means the port of the host.
  fixed = {
    FILEINTEL_API_HOST = "0.0.0.0";
    FILEINTEL_API_PORT = "8700";
    FILEINTEL_STATE_DIR = state;
    FILEINTEL_BROKER_MAXMEMORY_POLICY = loaded.settings.FILEINTEL_BROKER_MAXMEMORY_POLICY;
  };
  value =
    name: default: fixed.${name} or (if hasAttr name declared then variable name default else default);
  redis = name: "redis://:${needed "REDIS_PASSWORD"}@${name}:6379/0";
  secret = {
    DATABASE_URL = "postgresql://fileintel:${needed "POSTGRES_PASSWORD"}@postgres:5432/fileintel";
    REDIS_URL = redis "redis-broker";
    FILEINTEL_CACHE_URL = redis "redis-cache";
  };
  common = services.migrate.environment;
  environment =
    service:
    let
      own = filter (name: !hasAttr name common) (attrNames service.environment);
    in
    {
      _merge = [ "settings" ];
    }
    // toAttrs (name: value name service.environment.${name}) own
    // toAttrs (name: secret.${name} or (variable name "")) service.secrets;

  # --- the parts of a service
  limits =
    service:
    let
      amount =
        key:
        if hasAttr key service.variables then
          variable service.variables.${key} service.${key}
        else
          service.${key};
      resource = name: key: if service.${key} == null then { } else { ${name}.memory = amount key; };
      resources = resource "limits" "memoryMax" // resource "reservations" "memoryReservation";
    in
    if resources == { } then { } else { deploy = { inherit resources; }; };

  test =
    ready:
    if ready ? exec then
      [ "CMD" ] ++ ready.exec
    else
      [
        "CMD"
        "python"
        "-c"
        (import ./probe.nix ready.http)
      ];
  healthcheck =
    service:
    if service.ready == null then
      { }
    else
      {
        healthcheck = {
          test = test service.ready;
          # What asks Celery imports it first: seldom, and with time.
          interval = if service ? worker then "30s" else "10s";
          timeout = if service ? worker then "30s" else "15s";
          start_period = "120s";
          retries = 3;
        };
      };

  condition =
    name: if services.${name}.once then "service_completed_successfully" else "service_healthy";
  after =
    service:
    let
      known = filter (name: hasAttr name services) service.after;
    in
    if known == [ ] then
      { }
    else
      { depends_on = toAttrs (name: { condition = condition name; }) known; };

  part =
    name: service:
    {
      image = "${image name service}:${variable "IMAGE_TAG" version}";
      restart = if service.restart then "unless-stopped" else "no";
      init = true;
      read_only = true;
      tmpfs = [ "/tmp" ];
      cap_drop = [ "ALL" ];
      security_opt = [ "no-new-privileges:true" ];
      stop_grace_period = "60s";
    }
    // after service
    // healthcheck service
    // limits service;
  image =
    name: service: if head service.argv == "fileintel" then "fileintel" else "fileintel-${name}";

  app =
    name: service:
    part name service
    // {
      command = tail service.argv;
      environment =
        environment service
        # So that `docker compose exec api fileintel …` finds it.
        // (
          if name == "api" then
            { FILEINTEL_API_URL = "http://127.0.0.1:${fixed.FILEINTEL_API_PORT}"; }
          else
            { }
        );
      # The databases are in a network of their own, which leads nowhere.
      networks =
        (if service.once then [ ] else [ "default" ])
        ++ (if service.secrets == [ ] then [ ] else [ "data" ]);
    }
    // (if service.blobs then { volumes = [ "state:${state}" ]; } else { })
    // (
      if name == "api" then
        {
          ports = [
            "127.0.0.1:${variable "FILEINTEL_API_PORT" loaded.settings.FILEINTEL_API_PORT}:${fixed.FILEINTEL_API_PORT}"
          ];
        }
      else
        { }
    );

  # A parameter that is a setting: argv says its default, .env may say another.
  argv =
    service: flag:
    let
      variables = service.variables.parameters;
      chosen =
        name:
        let
          default = service.parameters.${name};
        in
        if hasAttr name variables then variable variables.${name} default else default;
    in
    [ (head service.argv) ] ++ concatMap (name: flag name (chosen name)) (attrNames service.parameters);

  server =
    name: service:
    part name service
    // {
      networks = [ "data" ];
    }
    // (
      if name == "postgres" then
        {
          command = argv service (
            parameter: text: [
              "-c"
              "${parameter}=${text}"
            ]
          );
          environment.POSTGRES_PASSWORD = needed "POSTGRES_PASSWORD";
          volumes = [ "postgres:/var/lib/postgresql/data" ];
          # Of the 64 MB that containers get, a parallel build of a vector index has too little.
          shm_size = "1gb";
        }
      else
        {
          command = argv service (
            parameter: text: [
              "--${parameter}"
              text
            ]
          );
          environment = {
            REDIS_PASSWORD = needed "REDIS_PASSWORD";
            # The health check's.
            REDISCLI_AUTH = needed "REDIS_PASSWORD";
          };
        }
        // (
          if name == "redis-broker" then
            { volumes = [ "broker:/data" ]; }
          else
            {
              tmpfs = [
                "/tmp"
                "/data"
              ];
            }
        )
    );

  data = {
    name = "fileintel";
    x-settings = {
      _anchor = "settings";
    }
    // mapAttrs value (common // fixed);
    services = mapAttrs (
      name: service: (if head service.argv == "fileintel" then app else server) name service
    ) services;
    networks = {
      default = { };
      data.internal = true;
    };
    volumes = {
      state = { };
      postgres = { };
      broker = { };
    };
  };
in
{
  inherit data;
  text = ''
    # FileIntel with Docker Compose: generated from nix/services.nix by tools/render_compose.py, do not edit.
    #
    # 1. Load the images:  nix run .#load-images   (without Nix: make images)
    # 2. Write .env beside this file: POSTGRES_PASSWORD and REDIS_PASSWORD (letters, digits and _.~- only), and what
    #    you want otherwise than it is here (.env.example lists all settings).
    # 3. docker compose up --detach --wait
    # 4. docker compose run --rm migrate migrate --first-key    prints the first API key
    #
    # Only the API is published, on 127.0.0.1. With OPENAI_BASE_URL set to a server of yours, FILEINTEL_CHAT_MODEL and
    # the FILEINTEL_EMBEDDING_ names go with it, and `--scale model-server=0` stops what is then not needed.
  ''
  + import ./yaml.nix {
    first = [
      "name"
      "x-settings"
      "services"
      "image"
      "command"
      "environment"
      "depends_on"
      "ports"
      "networks"
      "volumes"
      "test"
    ];
  } data;
}
