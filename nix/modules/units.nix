# From one process of plan.nix to its systemd unit: builtins only, so that the tests render and verify the very units
# that the NixOS modules produce, without nixpkgs. The result of `unit` is a value of `systemd.services`.
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    hasAttr
    isBool
    isList
    map
    match
    replaceStrings
    ;
  sizes = import ../sizes.nix;
  filterAttrs = import ../filter-attrs.nix;

  # An argument as systemd reads it: % starts a specifier, $ a variable, and blanks and quotes want quotes.
  argument =
    text:
    let
      escaped = replaceStrings [ "\\" "\"" "%" "$" ] [ "\\\\" "\\\"" "%%" "$$" ] text;
    in
    if match "[A-Za-z0-9_./:=,@%$+-]+" escaped != null then escaped else "\"${escaped}\"";

  # Nothing here needs a capability, a device, another user's processes, a namespace or a kernel setting. Measured by
  # `systemd-analyze security`; a test keeps every unit at or under 2.0.
  hardening = {
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    DevicePolicy = "closed";
    KeyringMode = "private";
    LockPersonality = true;
    # Tried with every kind of process: neither onnxruntime nor spaCy nor gevent writes code.
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    # setrlimit and sched_setaffinity stay allowed: parsers limit themselves, onnxruntime pins its threads.
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
    ];
    UMask = "0077";
  };

  # Only what starts Postgres or Redis on this very host is ordered after a unit of it.
  unitOf = {
    migrate = "fileintel-migrate.service";
    model-server = "fileintel-model-server.service";
    postgres = "postgresql.target";
    redis-broker = "redis-fileintel-broker.service";
    redis-cache = "redis-fileintel-cache.service";
  };

  percent =
    share: spelling: sizes.systemd "${toString (sizes.bytes spelling * share / 100 / 1048576)}M";
in
rec {
  inherit argument hardening percent;

  command = argv: concatStringsSep " " (map argument argv);

  # What a pool does when the kernel kills for memory: Celery starts a lost prefork process again and its task is run
  # again, so the unit goes on; a gevent worker is one process, and half of one is of no use.
  oomPolicy = pool: if pool == "prefork" then "continue" else "kill";

  # What a unit that reads the URLs made on this host is started again for: they are read once, and stand in no unit.
  triggers = map (
    server: "${server.variable} ${server.host} ${toString server.port} ${toString server.passwordFile}"
  );

  # The memory of a unit. memoryHigh, from which systemd slows a unit down and takes its caches, is nine tenths of the
  # limit unless it is said.
  memory =
    {
      memoryMax,
      memoryHigh ? null,
      memoryReservation ? null,
      ...
    }:
    (
      if memoryMax == null then
        { }
      else
        {
          MemoryMax = sizes.systemd memoryMax;
          MemoryHigh = if memoryHigh == null then percent 90 memoryMax else sizes.systemd memoryHigh;
        }
    )
    // (if memoryReservation == null then { } else { MemoryLow = sizes.systemd memoryReservation; });

  # A reservation holds only if every slice above grants it: ours is directly below the root and grants the sum.
  slice = reservations: {
    description = "FileIntel";
    sliceConfig =
      let
        sum = builtins.foldl' (total: spelling: total + sizes.bytes spelling) 0 (
          filter (r: r != null) reservations
        );
      in
      if sum == 0 then { } else { MemoryLow = sizes.systemd (toString sum); };
  };

  # One process's unit. `programs` maps argv's first word to a path; `credentials` a secret's variable to the file that
  # holds it; `local` names the services of plan.nix that run on this host; `launch` is a program that runs
  # `scripts.launcher`.
  unit =
    name: service:
    {
      programs,
      user,
      group,
      stateDir,
      environmentFiles ? [ ],
      credentials ? { },
      launch ? null,
      local ? [ ],
      after ? [ ],
      environment ? { },
      memoryHigh ? null,
    }:
    let
      own = filterAttrs (variable: _: elem variable service.secrets) credentials;
      argv = [ programs.${builtins.head service.argv} ] ++ builtins.tail service.argv;
      here = filter (other: elem other local && hasAttr other unitOf) service.after;
      needs = map (other: unitOf.${other}) here ++ after;
      # Documents may lie on a disk of their own, or on one that hosts share.
      blobDir = service.environment.FILEINTEL_BLOB_DIR or "";
      writable =
        (if stateDir == "/var/lib/fileintel" then [ ] else [ stateDir ])
        ++ (
          if !(service.blobs or false) || blobDir == "" || match "${stateDir}/.*" blobDir != null then
            [ ]
          else
            [ blobDir ]
        );
      isWorker = service ? worker;
      isComputing = isWorker || name == "model-server";
    in
    {
      inherit (service) description;
      # Wanted and not required: what this one needs may restart by itself, and is waited for.
      after = [ "network-online.target" ] ++ needs;
      wants = [ "network-online.target" ] ++ needs;
      wantedBy = [ "multi-user.target" ];
      environment =
        service.environment
        // {
          # Libraries that would write beside their code or into a home that is not there.
          HOME = stateDir;
          XDG_CACHE_HOME = "/var/cache/fileintel";
        }
        // environment;
      unitConfig = {
        RequiresMountsFor = [ stateDir ] ++ filter (path: path != stateDir) writable;
        # Never give up: a database that is away for an hour comes back.
        StartLimitIntervalSec = 0;
      };
      serviceConfig =
        hardening
        // memory (service // { inherit memoryHigh; })
        // {
          Type = if service.once then "oneshot" else "exec";
          ExecStart = command ((if own == { } || launch == null then [ ] else [ launch ]) ++ argv);
          User = user;
          Group = group;
          Slice = "fileintel.slice";
          SyslogIdentifier = "fileintel-${name}";
          WorkingDirectory = stateDir;
          CacheDirectory = "fileintel";
          CacheDirectoryMode = "0700";
          Restart = if service.once then "on-failure" else "always";
          RestartSec = 2;
          # Waits 2 s before the first start again and a minute before the sixth and every later one.
          RestartSteps = 5;
          RestartMaxDelaySec = 60;
          # Celery finishes its tasks, which are short, and hands its leases back.
          KillMode = "mixed";
          TimeoutStopSec = 90;
          LimitNOFILE = 65536;
        }
        // (
          if stateDir == "/var/lib/fileintel" then
            {
              StateDirectory = "fileintel";
              StateDirectoryMode = "0700";
            }
          else
            { }
        )
        // (if writable == [ ] then { } else { ReadWritePaths = writable; })
        // (
          if service.once then
            {
              RemainAfterExit = true;
              TimeoutStartSec = "infinity";
            }
          else
            { }
        )
        // (if isWorker then { OOMPolicy = oomPolicy service.pool; } else { })
        # c-ares, by which a gevent worker resolves names, asks the kernel for its addresses.
        // (
          if isWorker && service.pool == "gevent" then
            { RestrictAddressFamilies = hardening.RestrictAddressFamilies ++ [ "AF_NETLINK" ]; }
          else
            { }
        )
        # Models look at /proc/cpuinfo.
        // (if isComputing then { } else { ProcSubset = "pid"; })
        // (if environmentFiles == [ ] then { } else { EnvironmentFile = environmentFiles; })
        // (
          if own == { } then
            { }
          else
            { LoadCredential = map (variable: "${variable}:${own.${variable}}") (attrNames own); }
        );
    };

  # A unit, given as a value of systemd.services, as the text of a unit file: for hosts without NixOS, and for the
  # tests.
  text =
    unit:
    let
      word = value: if isBool value then (if value then "yes" else "no") else toString value;
      # CapabilityBoundingSet, say, is one list of words; EnvironmentFile is given once for each file.
      once = [
        "RestrictAddressFamilies"
        "ReadWritePaths"
        "RequiresMountsFor"
      ];
      lines =
        name: value:
        map (item: "${name}=${word item}") (if isList value && !elem name once then value else [ value ]);
      section =
        title: set: [ "[${title}]" ] ++ concatMap (name: lines name set.${name}) (attrNames set) ++ [ "" ];
      quoted =
        variable: value: "\"${variable}=${replaceStrings [ "\\" "\"" "%" ] [ "\\\\" "\\\"" "%%" ] value}\"";
      joined = list: concatStringsSep " " list;
    in
    concatStringsSep "\n" (
      section "Unit" (
        {
          Description = unit.description;
          After = joined unit.after;
          Wants = joined unit.wants;
        }
        // unit.unitConfig
      )
      ++ section "Service" (
        unit.serviceConfig
        // {
          Environment = map (name: quoted name unit.environment.${name}) (attrNames unit.environment);
        }
      )
      ++ section "Install" { WantedBy = joined unit.wantedBy; }
    );

  # The addresses a server listens on, as one text, and whether others than this host reach it there.
  addresses = bind: filter (word: builtins.isString word && word != "") (builtins.split " +" bind);
  isOpen =
    bind:
    filter (
      address:
      !elem address [
        "127.0.0.1"
        "::1"
        "localhost"
      ]
    ) (addresses bind) != [ ];
  # What this host itself connects to.
  reached =
    bind:
    let
      all = addresses bind;
      first = builtins.head all;
    in
    if
      filter (
        address:
        elem address [
          "127.0.0.1"
          "localhost"
          "0.0.0.0"
          "*"
          "::"
        ]
      ) all != [ ]
    then
      "127.0.0.1"
    else if match ".*:.*" first != null then
      "[${first}]"
    else
      first;

  # systemd reads % in a variable's value as a specifier, and NixOS writes values as they are.
  asWritten = builtins.mapAttrs (_: replaceStrings [ "%" ] [ "%%" ]);

  # Where a path given as a secret must not lie.
  inStore = path: match "${builtins.storeDir}(/.*)?" (toString path) != null;
}
