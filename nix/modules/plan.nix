# From the options of a host to the processes that run on it, as plain data. Builtins only, so that the tests evaluate
# it without nixpkgs:
#
#   import ./plan.nix {
#     settings = { FILEINTEL_LOG_LEVEL = "DEBUG"; HTTPS_PROXY = "http://proxy:3128"; };   # null: not set
#     workers.questions = { pool = "gevent"; concurrency = 50; queues = [ "graphrag_queries" ]; };
#   }
#
# A worker's entry may hold enable, pool, concurrency, queues, hostname, prefetchMultiplier, memoryMax,
# memoryReservation and environment; what it lacks is taken from workers.toml, or, for a worker that workers.toml does
# not know, from the one there with the same kind of pool. The result:
#
#   settings, services   as services.nix has them; a worker that differs from workers.toml has Celery's whole command
#                        line, because `fileintel worker NAME` reads the workers.toml of the package
#   workers.<name>       every value of a worker, those of workers.toml included
#   celeryArgv, queues, pools   every worker's whole command line, and what there is to choose from
{
  settings ? { },
  workers ? { },
  hosts ? { },
}:
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    hasAttr
    head
    listToAttrs
    mapAttrs
    match
    removeAttrs
    toJSON
    ;
  layout = fromTOML (builtins.readFile ../../fileintel/workers.toml);
  declared = builtins.fromJSON (builtins.readFile ../settings.json);
  sizes = import ../sizes.nix;
  secrets = import ../secrets.nix;
  fail = text: throw "fileintel: ${text}";
  filterAttrs = import ../filter-attrs.nix;

  # --- settings: ours are typed by settings.json, others (a proxy's address, say) are handed to the processes as they
  # are
  given = filterAttrs (_: value: value != null) settings;
  known = filterAttrs (name: _: hasAttr name declared.settings) given;
  others = mapAttrs other (filterAttrs (name: _: !hasAttr name declared.settings) given);
  other =
    name: value:
    if match "(FILEINTEL|CELERY|POSTGRES|REDIS|OPENAI)_.*" name != null then
      fail "${name} is no setting of FileIntel; nix/settings.json has all of them"
    else if secrets.isSecretName name || secrets.hasPassword (toString value) then
      fail (secrets.refusal name)
    else
      toString value;

  # --- workers
  value = name: known.${name} or declared.settings.${name}.default;
  resolved =
    entry: if builtins.isString entry && hasAttr entry declared.settings then value entry else entry;
  shipped = mapAttrs (_: entry: {
    enable = true;
    pool = resolved entry.pool;
    concurrency = resolved entry.concurrency;
    inherit (entry) queues hostname;
    prefetchMultiplier = entry.prefetch_multiplier;
    memoryMax = resolved entry.memory_limit;
    memoryReservation = resolved entry.memory_reservation;
    environment = { };
  }) layout.workers;

  # The worker of workers.toml from which one that is not in it takes what it does not say, and its variables' names.
  modelOf =
    pool:
    let
      waiting = filter (name: shipped.${name}.pool == "gevent") (attrNames shipped);
      computing = filter (name: shipped.${name}.pool != "gevent") (attrNames shipped);
      fitting = if pool == "gevent" then waiting else computing;
    in
    if fitting == [ ] then
      fail "workers.toml has no worker to take a ${pool} worker's defaults from"
    else
      head fitting;

  complete =
    name: entry:
    let
      said = filterAttrs (_: v: v != null) entry;
      pool = said.pool or "prefork";
      own =
        shipped.${name} or (
          removeAttrs shipped.${modelOf pool} [ "queues" ]
          // {
            inherit pool;
            hostname = "${name}_${pool}@%h";
            queues = fail "worker ${name}: queues is not set";
          }
        );
    in
    if match "[a-z][a-z0-9-]*" name == null then
      fail "worker ${name}: a name is lower-case letters, digits and -"
    else
      own // said;
  all = mapAttrs complete (mapAttrs (_: _: { }) shipped // workers);

  # services.nix takes a setting's name or a value: names where workers.toml has them, for then every process is told.
  isShipped = name: hasAttr name layout.workers;
  variablesOf = name: layout.workers.${if isShipped name then name else modelOf all.${name}.pool};
  isVariable = entry: builtins.isString entry && hasAttr entry declared.settings;
  chosen = listToAttrs (
    concatMap (
      name:
      map
        (pair: {
          name = head pair;
          value = builtins.elemAt pair 1;
        })
        (
          filter (pair: isVariable (head pair)) [
            [
              layout.workers.${name}.pool
              all.${name}.pool
            ]
            [
              layout.workers.${name}.concurrency
              all.${name}.concurrency
            ]
            [
              layout.workers.${name}.memory_limit
              all.${name}.memoryMax
            ]
            [
              layout.workers.${name}.memory_reservation
              all.${name}.memoryReservation
            ]
          ]
        )
    ) (attrNames layout.workers)
  );
  asEntry =
    name: worker:
    {
      inherit (worker)
        pool
        concurrency
        hostname
        queues
        ;
      memory_limit = worker.memoryMax;
      memory_reservation = worker.memoryReservation;
      prefetch_multiplier = worker.prefetchMultiplier;
      inherit (variablesOf name) log_level variables;
    }
    // (if isShipped name then filterAttrs (_: isVariable) layout.workers.${name} else { });

  rendered = import ../services.nix {
    workers = layout // {
      workers = mapAttrs asEntry all;
    };
    settings = declared;
    overrides = known // chosen;
    inherit hosts;
  };

  # --- what services.nix does not see: two workers that get in each other's way
  problems =
    concatMap (
      queue:
      let
        serving = filter (name: elem queue all.${name}.queues) (attrNames all);
        pools = map (name: all.${name}.pool) serving;
      in
      if serving != [ ] && filter (pool: pool != head pools) pools != [ ] then
        [ "the queue ${queue} is served by two pools, of ${concatStringsSep " and " serving}" ]
      else
        [ ]
    ) (attrNames layout.queues)
    ++ concatMap (
      name:
      let
        same = filter (other: all.${other}.hostname == all.${name}.hostname) (attrNames all);
      in
      if head same == name && builtins.length same > 1 then
        [ "two workers have the host name ${all.${name}.hostname}" ]
      else
        [ ]
    ) (attrNames all)
    ++ concatMap (
      name:
      if sizes.bytes all.${name}.memoryReservation > sizes.bytes all.${name}.memoryMax then
        [
          "worker ${name}: memoryReservation ${all.${name}.memoryReservation} is more than memoryMax ${all.${name}.memoryMax}"
        ]
      else
        [ ]
    ) (attrNames all);

  # --- processes
  isAsShipped =
    name:
    isShipped name
    && all.${name}.queues == layout.workers.${name}.queues
    && all.${name}.hostname == layout.workers.${name}.hostname
    && all.${name}.prefetchMultiplier == layout.workers.${name}.prefetch_multiplier
    && (isVariable layout.workers.${name}.pool || all.${name}.pool == layout.workers.${name}.pool);

  # The same as topology.worker_argv; a test holds the two together.
  celeryArgv =
    worker:
    [
      "python"
      "-m"
      "celery"
      "-A"
      "fileintel.tasks.app"
      "worker"
    ]
    ++ [
      "--pool=${worker.pool}"
      "--concurrency=${toJSON worker.concurrency}"
      "--queues=${concatStringsSep "," worker.queues}"
      "--hostname=${worker.hostname}"
      "--prefetch-multiplier=${toJSON worker.prefetchMultiplier}"
      "--loglevel=${rendered.settings.FILEINTEL_LOG_LEVEL}"
      "--without-gossip"
      "--without-mingle"
      "--without-heartbeat"
    ]
    ++ (
      if worker.pool == "prefork" then
        [
          "--max-memory-per-child=${
            toString (sizes.bytes worker.memoryMax * 8 / 10 / worker.concurrency / 1024)
          }"
        ]
      else
        [ ]
    );

  # The limiter of LLM calls and the connections to the broker go by these; in its own unit they are this worker's.
  ownVariables =
    name: worker:
    let
      names = variablesOf name;
    in
    {
      ${names.concurrency} = toString worker.concurrency;
      ${names.memory_limit} = worker.memoryMax;
      ${names.memory_reservation} = worker.memoryReservation;
    };

  # A variable of one worker alone, a setting of ours or another's; as safe as those of all.
  ofWorker =
    name: value:
    if !hasAttr name declared.settings then
      other name value
    else if declared.settings.${name}.type == "secret" || secrets.hasPassword value then
      fail (secrets.refusal name)
    else
      value;

  workerService =
    service:
    let
      worker = all.${service.worker};
    in
    service
    // {
      inherit (worker) enable prefetchMultiplier;
      environment =
        service.environment
        // others
        // (if isShipped service.worker then { } else ownVariables service.worker worker)
        // mapAttrs ofWorker worker.environment;
    }
    // (
      if isAsShipped service.worker then
        { }
      else
        {
          argv = celeryArgv worker;
          ready = null;
        }
    );
  finished =
    _: service:
    if service ? worker then
      workerService service
    else
      service // { environment = service.environment // others; };
in
if problems != [ ] then
  fail (head problems)
else
  {
    inherit (rendered) settings;
    services = mapAttrs finished rendered.services;
    workers = all;
    celeryArgv = mapAttrs (_: celeryArgv) all;
    queues = attrNames layout.queues;
    pools = declared.settings.CELERY_WORKER_POOL.choices;
  }
