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
    listToAttrs
    map
    match
    replaceStrings
    ;
  sizes = import ../sizes.nix;
  pick =
    keep: set:
    listToAttrs (
      map (name: { inherit name; value = set.${name}; }) (filter (name: keep name set.${name}) (attrNames set))
    );

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
    RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    # setrlimit and sched_setaffinity stay allowed: parsers limit themselves, onnxruntime pins its threads.
    SystemCallFilter = [ "@system-service" "~@privileged" ];
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

  percent = share: spelling: sizes.systemd "${toString (sizes.bytes spelling * share / 100 / 1048576)}M";
in
rec {
  inherit argument hardening percent;

  command = argv: concatStringsSep " " (map argument argv);

  # What a pool does when the kernel kills for memory: Celery starts a lost prefork process again and its task is run
  # again, so the unit goes on; a gevent worker is one process, and half of one is of no use.
  oomPolicy = pool: if pool == "prefork" then "continue" else "kill";

  # systemd hands secrets over as files, FileIntel reads variables. What the environment file says stands above them.
  launcher = ''
    set -eu
    for file in "''${CREDENTIALS_DIRECTORY:-/dev/null}"/*; do
      variable="''${file##*/}"
      [ -f "$file" ] && [ -z "''${!variable:-}" ] || continue
      export "$variable=$(<"$file")"
    done
    exec "$@"
  '';

  # The URLs of this host's Redis servers, kept from everyone but root, with the passwords that are credentials or, once
  # and for all, made here.
  makeSecrets = servers: ''
    set -eu
    umask 077
    cd "$STATE_DIRECTORY"
    # In a URL only these stand for themselves.
    quoted() {
      local LC_ALL=C text="$1" place letter
      for ((place = 0; place < ''${#text}; place++)); do
        letter="''${text:place:1}"
        case "$letter" in
          [A-Za-z0-9._~-]) printf %s "$letter" ;;
          *) printf '%%%02X' "'$letter" ;;
        esac
      done
    }
    make() {
      local kept="''${CREDENTIALS_DIRECTORY:-/dev/null}/$1"
      if [ ! -f "$kept" ]; then
        kept="$1.password"
        if [ ! -s "$kept" ]; then
          head -c 32 /dev/urandom | base64 | tr -d '/+=\n' > "$1.new"
          mv "$1.new" "$kept"
        fi
      fi
      printf 'redis://:%s@%s:%s/0' "$(quoted "$(<"$kept")")" "$2" "$3" > "$4.new"
      mv "$4.new" "$4"
    }
    ${concatStringsSep "\n" (
      map (server: "make ${server.name} ${server.host} ${toString server.port} ${server.variable}") servers
    )}
  '';

  # What a unit that reads those URLs is started again for: they are read once, and stand in no unit.
  triggers = map (
    server: "${server.variable} ${server.host} ${toString server.port} ${toString server.passwordFile}"
  );

  # The first admin key, kept where the command line looks for it; made by the migrations, if there is none at all.
  makeAdminKey = stateDir: fileintel: ''
    set -euo pipefail
    umask 077
    [ ! -s ${stateDir}/admin.key ] || exit 0
    ${fileintel} migrate --first-key | tail -n +2 > ${stateDir}/admin.key.new
    if [ -s ${stateDir}/admin.key.new ]; then mv ${stateDir}/admin.key.new ${stateDir}/admin.key; fi
  '';

  # The command line on a host that FileIntel runs on. Clients of the API run as whoever calls them, with the first admin
  # key if they may read it; what reads settings and secrets itself runs as the services do.
  manage =
    {
      systemdRun,
      fileintel,
      launch,
      user,
      group,
      stateDir,
      apiUrl,
      environment,
      environmentFiles,
      credentials,
    }:
    let
      quote = text: "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
      options =
        [ "--quiet" "--collect" "--wait" "--pipe" "--service-type=exec" ]
        ++ map (property: "--property=${property}") (
          [ "User=${user}" "Group=${group}" "WorkingDirectory=${stateDir}" ]
          ++ map (file: "EnvironmentFile=${file}") environmentFiles
          ++ map (name: "LoadCredential=${name}:${credentials.${name}}") (attrNames credentials)
        )
        ++ map (name: "--setenv=${name}=${environment.${name}}") (attrNames environment)
        ++ [ "--setenv=HOME=${stateDir}" ];
    in
    ''
      case "''${1:-}" in
        config | migrate | worker)
          exec ${systemdRun} ${concatStringsSep " " (map quote options)} -- ${launch} ${fileintel} "$@" ;;
      esac
      export FILEINTEL_STATE_DIR=${stateDir} FILEINTEL_API_URL="''${FILEINTEL_API_URL:-${apiUrl}}"
      exec ${fileintel} "$@"
    '';

  # Sound while everything runs: pg_dump reads one snapshot, and a stored document's file never changes.
  makeBackup =
    { location, keep, blobDir }:
    ''
      set -euo pipefail
      umask 077
      mkdir -p ${location}/blobs
      # Every user of the machine sees arguments, and nobody else a variable.
      if [[ $DATABASE_URL =~ ^([a-z0-9+]+://[^:/@]*):([^/@]*)@(.*)$ ]]; then
        DATABASE_URL="''${BASH_REMATCH[1]}@''${BASH_REMATCH[3]}" password="''${BASH_REMATCH[2]//\\/\\\\}"
        printf -v PGPASSWORD %b "''${password//%/\\x}"
        export PGPASSWORD
      fi
      # One name while it is made: what a failed one left is overwritten by the next.
      pg_dump --format=custom --file=${location}/new "''${DATABASE_URL/#postgresql+psycopg2:/postgresql:}"
      mv ${location}/new ${location}/fileintel-$(date --utc +%Y%m%dT%H%M%SZ).dump
      # A document's file never changes, but may be deleted meanwhile; those on their way in and exports are none.
      if [ -d ${blobDir} ]; then
        cd ${blobDir}
        find . -path './??/??/*' -type f -print0 | while IFS= read -r -d "" file; do
          [ ! -e "${location}/blobs/$file" ] || continue
          mkdir -p "${location}/blobs/''${file%/*}"
          if cp "$file" ${location}/new; then
            mv ${location}/new "${location}/blobs/$file"
          elif [ -e "$file" ]; then
            exit 1
          fi
        done
      fi
      ls -1 ${location}/fileintel-*.dump | head -n -${toString keep} | xargs -r rm --
    '';

  # The memory of a unit. memoryHigh, from which systemd slows a unit down and takes its caches, is nine tenths of the
  # limit unless it is said.
  memory =
    { memoryMax, memoryHigh ? null, memoryReservation ? null, ... }:
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
        sum = builtins.foldl' (total: spelling: total + sizes.bytes spelling) 0 (filter (r: r != null) reservations);
      in
      if sum == 0 then { } else { MemoryLow = sizes.systemd (toString sum); };
  };

  # One process's unit. `programs` maps argv's first word to a path; `credentials` a secret's variable to the file that
  # holds it; `local` names the services of plan.nix that run on this host; `launch` is a program that runs `launcher`.
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
      own = pick (variable: _: elem variable service.secrets) credentials;
      argv = [ programs.${builtins.head service.argv} ] ++ builtins.tail service.argv;
      here = filter (other: elem other local && hasAttr other unitOf) service.after;
      needs = map (other: unitOf.${other}) here ++ after;
      # Documents may lie on a disk of their own, or on one that hosts share.
      blobDir = service.environment.FILEINTEL_BLOB_DIR or "";
      writable =
        (if stateDir == "/var/lib/fileintel" then [ ] else [ stateDir ])
        ++ (if !(service.blobs or false) || blobDir == "" || match "${stateDir}/.*" blobDir != null then [ ] else [ blobDir ]);
      isWorker = service ? worker;
      isComputing = isWorker || name == "model-server";
    in
    {
      inherit (service) description;
      # Wanted and not required: what this one needs may restart by itself, and is waited for.
      after = [ "network-online.target" ] ++ needs;
      wants = [ "network-online.target" ] ++ needs;
      wantedBy = [ "multi-user.target" ];
      environment = service.environment // {
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
            { StateDirectory = "fileintel"; StateDirectoryMode = "0700"; }
          else
            { }
        )
        // (if writable == [ ] then { } else { ReadWritePaths = writable; })
        // (if service.once then { RemainAfterExit = true; TimeoutStartSec = "infinity"; } else { })
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
      once = [ "RestrictAddressFamilies" "ReadWritePaths" "RequiresMountsFor" ];
      lines =
        name: value:
        map (item: "${name}=${word item}") (if isList value && !elem name once then value else [ value ]);
      section = title: set: [ "[${title}]" ] ++ concatMap (name: lines name set.${name}) (attrNames set) ++ [ "" ];
      quoted = variable: value: "\"${variable}=${replaceStrings [ "\\" "\"" "%" ] [ "\\\\" "\\\"" "%%" ] value}\"";
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
  isOpen = bind: filter (address: !elem address [ "127.0.0.1" "::1" "localhost" ]) (addresses bind) != [ ];
  # What this host itself connects to.
  reached =
    bind:
    let
      all = addresses bind;
      first = builtins.head all;
    in
    if filter (address: elem address [ "127.0.0.1" "localhost" "0.0.0.0" "*" "::" ]) all != [ ] then
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
