# services.fileintel: FileIntel as systemd units. What runs is nix/services.nix, how a unit looks is units.nix; the
# modules hold the options and nothing else.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.fileintel;
  inherit (import ./options.nix { inherit lib; }) declared;
  units = import ./units.nix;
  scripts = import ./scripts.nix;

  # Names of plan.services that are nixpkgs's own units here.
  foreign = [
    "postgres"
    "redis-broker"
    "redis-cache"
  ];
  runsHere =
    name: service:
    if service ? worker then
      cfg.workers.${service.worker}.enable
    else if name == "api" || name == "migrate" then
      # One host of several brings the database to its schema; workers wait for it.
      cfg.api.enable
    else
      # The models are wherever something needs them.
      !lib.elem name foreign && (cfg.api.enable || anyWorker);
  anyWorker = lib.any (worker: worker.enable) (lib.attrValues cfg.workers);
  ours = lib.filterAttrs runsHere cfg.plan.services;

  isLocal = {
    postgres = cfg.postgres.createLocally;
    redis-broker = cfg.redis.broker.createLocally;
    redis-cache = cfg.redis.cache.createLocally;
  };

  # How the Redis servers of this host are reached, unless that is said: with the password of a file, or one made here.
  redisSecret =
    which: variable:
    lib.optional (isLocal."redis-${which}" && !(cfg.credentials ? ${variable})) {
      name = "fileintel-${which}";
      host = units.reached cfg.redis.${which}.bind;
      inherit (cfg.redis.${which}) port passwordFile;
      inherit variable;
    };
  inherit (cfg) madeSecrets;
  credentials =
    lib.listToAttrs (
      map (made: lib.nameValuePair made.variable "${cfg.secretsDir}/${made.variable}") madeSecrets
    )
    // lib.mapAttrs (_: toString) cfg.credentials;

  python = "${cfg.package.environment or cfg.package}/bin/python";
  launch = pkgs.writeShellScript "fileintel-launch" scripts.launcher;
  common = {
    inherit (cfg) user group stateDir;
    inherit credentials;
    environmentFiles = lib.optional (cfg.environmentFile != null) (toString cfg.environmentFile);
    programs = {
      fileintel = lib.getExe' cfg.package "fileintel";
      inherit python;
    };
    launch = "${launch}";
    environment = {
      # Celery asks for UTC by its name.
      PYTHONTZPATH = "${pkgs.tzdata}/share/zoneinfo";
      # The host's certificates, a company's own among them (security.pki), and not those of a Python package.
      SSL_CERT_FILE = cfg.settings.SSL_CERT_FILE or "/etc/ssl/certs/ca-certificates.crt";
    };
    local = lib.attrNames (lib.filterAttrs (_: here: here) isLocal) ++ lib.attrNames ours;
    after = lib.optional (madeSecrets != [ ]) "fileintel-secrets.service";
  };
  unitFor =
    name: service:
    made name (if name == "api" then service // { inherit (cfg.api) memoryMax; } else service) {
      memoryHigh = if service ? worker then cfg.workers.${service.worker}.memoryHigh else null;
    };
  made =
    name: service: more:
    let
      unit = units.unit name service (common // more);
    in
    unit
    // {
      environment = units.asWritten unit.environment;
      # A host may say otherwise of single values without force; lists add up.
      serviceConfig = lib.mapAttrs (
        _: value: if lib.isList value then value else lib.mkDefault value
      ) unit.serviceConfig;
      restartTriggers = units.triggers madeSecrets;
    };

  # The process that makes the first admin key; it needs what the migrations need.
  adminKey = cfg.plan.services.migrate // {
    description = "FileIntel: the first admin key";
    argv = [ "sh" ];
    after = [ "migrate" ];
  };

  # A system that is built for another kind of machine.
  canRun = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
  configured = cfg.plan.services.migrate.environment;
  configCheck = pkgs.runCommand "fileintel-config-check" configured ''
    ${common.programs.fileintel} config check --offline | tee "$out"
  '';

  manage = pkgs.writeShellScriptBin "fileintel-manage" (
    scripts.manage {
      systemdRun = "${config.systemd.package}/bin/systemd-run";
      inherit (cfg) user group stateDir;
      inherit credentials;
      inherit (common) environmentFiles launch;
      fileintel = common.programs.fileintel;
      environment = configured;
      apiUrl =
        if cfg.plan.settings.FILEINTEL_API_URL != "" then
          cfg.plan.settings.FILEINTEL_API_URL
        else
          "http://${units.reached cfg.api.host}:${toString cfg.api.port}";
    }
  );

  # ProtectHome and PrivateTmp show a unit none of these.
  isHidden = path: builtins.match "/(home|root|run/user|tmp|var/tmp)(/.*)?" path != null;
  folders = {
    stateDir = cfg.stateDir;
    "settings.FILEINTEL_BLOB_DIR" = cfg.plan.settings.FILEINTEL_BLOB_DIR;
    "backup.location" = cfg.backup.location;
  };
  firstPort = config.boot.kernel.sysctl."net.ipv4.ip_unprivileged_port_start" or 1024;

  secretFiles =
    lib.filterAttrs (_: file: file != null) {
      inherit (cfg) environmentFile;
      "postgres.passwordFile" = cfg.postgres.passwordFile;
      "redis.broker.passwordFile" = cfg.redis.broker.passwordFile;
      "redis.cache.passwordFile" = cfg.redis.cache.passwordFile;
    }
    // lib.mapAttrs' (name: lib.nameValuePair "credentials.${name}") cfg.credentials;
in
{
  # The same module, whether a host imports the folder, this file or a role.
  key = "services.fileintel";
  imports = [
    ./general.nix
    ./postgres.nix
    ./redis.nix
    ./workers.nix
    ./api.nix
    ./upkeep.nix
  ];

  config = lib.mkMerge [
    {
      services.fileintel.madeSecrets =
        redisSecret "broker" "REDIS_URL" ++ redisSecret "cache" "FILEINTEL_CACHE_URL";
      services.fileintel.plan = import ./plan.nix {
        settings = {
          FILEINTEL_STATE_DIR = cfg.stateDir;
        }
        // lib.optionalAttrs cfg.postgres.createLocally {
          DATABASE_URL = "postgresql:///${cfg.postgres.database}?host=/run/postgresql&port=${toString cfg.postgres.port}";
        }
        // lib.filterAttrs (_: value: value != null && value != "") (cfg.settings // cfg.chosen);
        workers = lib.mapAttrs (
          _: worker: lib.filterAttrs (_: value: value != null) (removeAttrs worker [ "memoryHigh" ])
        ) cfg.workers;
      };
    }

    (lib.mkIf cfg.enable {
      assertions =
        lib.mapAttrsToList (name: file: {
          assertion = !units.inStore file;
          message = "services.fileintel.${name} lies in the Nix store, which everybody can read: give a path outside of it, as text.";
        }) secretFiles
        ++ map (name: {
          assertion = declared ? ${name} && declared.${name}.secret;
          message = "services.fileintel.credentials.${name} is no secret setting of FileIntel; there are ${
            lib.concatStringsSep ", " (lib.attrNames (lib.filterAttrs (_: entry: entry.secret) declared))
          }.";
        }) (lib.attrNames cfg.credentials)
        ++ lib.mapAttrsToList (name: path: {
          assertion = !isHidden path;
          message = "services.fileintel.${name} is ${path}, which the units cannot see: they have no homes and a /tmp of their own.";
        }) folders
        ++ [
          {
            # Of that release on Postgres has the units postgresql.target and postgresql-setup, which ours hang on.
            assertion = cfg.postgres.createLocally -> lib.versionAtLeast lib.trivial.release "25.11";
            message = "services.fileintel.postgres needs NixOS 25.11 or newer, and this is ${lib.trivial.release}.";
          }
          {
            assertion = cfg.api.enable -> cfg.api.port >= firstPort;
            message = "services.fileintel.api.port is ${toString cfg.api.port}: the API runs without privileges, and ports below ${toString firstPort} need one; put a reverse proxy before it.";
          }
          {
            assertion = ours != { } || lib.any (here: here) (lib.attrValues isLocal);
            message = "services.fileintel is enabled, but nothing of it runs on this host.";
          }
          {
            assertion = lib.elem (cfg.settings.FILEINTEL_STATE_DIR or null) [
              null
              ""
              cfg.stateDir
            ];
            message = "services.fileintel.settings.FILEINTEL_STATE_DIR is set: the folder is that of services.fileintel.stateDir.";
          }
          {
            assertion = cfg.postgres.createLocally -> !(cfg.credentials ? DATABASE_URL);
            message = "services.fileintel.credentials.DATABASE_URL is set, and this host has a Postgres of its own: switch that off with services.fileintel.postgres.createLocally.";
          }
        ]
        ++
          map
            (variable: {
              assertion =
                ours == { }
                || credentials ? ${variable}
                || cfg.environmentFile != null
                || cfg.plan.settings.${variable} != "";
              message = "services.fileintel: ${variable} is not known, for no server of this host tells it: set it in credentials or environmentFile.";
            })
            [
              "DATABASE_URL"
              "REDIS_URL"
            ];

      # Built with the system: a configuration that the program itself refuses is never switched to.
      system.checks = lib.mkIf (ours != { } && canRun) [ configCheck ];
      environment.systemPackages = lib.mkIf (ours != { }) [
        cfg.package
        manage
      ];

      users.users = lib.mkIf (cfg.user == "fileintel") {
        fileintel = {
          isSystemUser = true;
          inherit (cfg) group;
          home = cfg.stateDir;
        };
      };
      users.groups = lib.mkIf (cfg.group == "fileintel") { fileintel = { }; };

      systemd.slices.fileintel = units.slice (
        lib.mapAttrsToList (_: service: service.memoryReservation) ours
      );
      systemd.tmpfiles.settings.fileintel = lib.mkIf (cfg.stateDir != "/var/lib/fileintel") {
        ${cfg.stateDir}.d = {
          inherit (cfg) user group;
          mode = "0700";
        };
      };

      systemd.tmpfiles.settings.fileintel-blobs = lib.mkIf (cfg.plan.settings.FILEINTEL_BLOB_DIR != "") {
        ${cfg.plan.settings.FILEINTEL_BLOB_DIR}.d = {
          inherit (cfg) user group;
          mode = "0700";
        };
      };

      systemd.services =
        lib.mapAttrs' (name: service: lib.nameValuePair "fileintel-${name}" (unitFor name service)) ours
        // lib.optionalAttrs (madeSecrets != [ ]) {
          fileintel-secrets = {
            description = "FileIntel: passwords made on this host";
            path = [ pkgs.coreutils ];
            script = scripts.makeSecrets madeSecrets;
            serviceConfig = units.hardening // {
              Type = "oneshot";
              RemainAfterExit = true;
              LoadCredential = map (secret: "${secret.name}:${toString secret.passwordFile}") (
                lib.filter (secret: secret.passwordFile != null) madeSecrets
              );
              StateDirectory = "fileintel-secrets";
              StateDirectoryMode = "0700";
              PrivateNetwork = true;
              RestrictAddressFamilies = "AF_UNIX";
            };
          };
        }
        // lib.optionalAttrs cfg.api.enable {
          fileintel-admin-key =
            let
              script = pkgs.writeShellScript "fileintel-admin-key" (
                scripts.makeAdminKey cfg.stateDir common.programs.fileintel
              );
            in
            made "admin-key" adminKey { programs.sh = "${script}"; } // { path = [ pkgs.coreutils ]; };
        };
    })
  ];
}
