# services.fileintel.backup and .flower: what looks after a running FileIntel.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.fileintel;
  inherit (cfg) backup flower;
  options = import ./options.nix { inherit lib; };
  units = import ./units.nix;
  scripts = import ./scripts.nix;
  given = cfg.plan.settings.FILEINTEL_BLOB_DIR;
  blobDir = if given == "" then "${cfg.stateDir}/blobs" else given;
  # From a credential, made on this host or given, or from the environment file.
  isMade = lib.any (secret: secret.variable == "REDIS_URL") cfg.madeSecrets;
  secretsUnit = lib.optional isMade "fileintel-secrets.service";
  brokerUrl =
    if cfg.credentials ? REDIS_URL then
      [ "REDIS_URL:${toString cfg.credentials.REDIS_URL}" ]
    else
      lib.optional isMade "REDIS_URL:${cfg.secretsDir}/REDIS_URL";
  runFlower = pkgs.writeShellScript "fileintel-flower" ''
    # The name under which Celery's command line knows it.
    export CELERY_BROKER_URL="$REDIS_URL"
    exec ${lib.getExe' flower.package "celery"} flower
  '';
  launch = pkgs.writeShellScript "fileintel-launch" scripts.launcher;
  files = lib.optional (cfg.environmentFile != null) (toString cfg.environmentFile);
in
{
  options.services.fileintel = {
    backup = {
      enable = lib.mkEnableOption "regular copies of the database and the documents";
      startAt = lib.mkOption {
        type = lib.types.str;
        default = "daily";
        description = "When, as systemd.time(7) writes it.";
      };
      location = lib.mkOption {
        type = lib.types.strMatching "/[^ ]*[^/ ]";
        default = "${cfg.stateDir}/backups";
        defaultText = lib.literalMD "`stateDir`/backups";
        description = "Folder of the copies; better on another disk, and then it must be there and belong to `user`.";
      };
      package = lib.mkOption {
        type = lib.types.package;
        default =
          if cfg.postgres.createLocally then config.services.postgresql.package else pkgs.postgresql;
        defaultText = lib.literalMD "this host's Postgres, or, where that is on another, `pkgs.postgresql`";
        description = "Postgres whose pg_dump makes the copy; it must be no older than the server.";
      };
      keep = lib.mkOption {
        type = lib.types.ints.positive;
        default = 7;
        description = "Copies of the database that are kept; documents are kept once.";
      };
    };
    flower = {
      enable = lib.mkEnableOption "Flower, a web page that shows Celery's workers and queues";
      package = lib.mkOption {
        type = lib.types.package;
        default = pkgs.python3.withPackages (packages: [
          packages.flower
          packages.redis
        ]);
        defaultText = lib.literalExpression "pkgs.python3.withPackages (packages: [ packages.flower packages.redis ])";
        description = "Python environment with Flower.";
      };
      port = lib.mkOption {
        type = lib.types.port;
        default = 5555;
        description = "Port on 127.0.0.1.";
      };
      passwordFile = lib.mkOption {
        type = lib.types.nullOr options.secretFile;
        default = null;
        example = "/run/secrets/fileintel-flower";
        description = "File with NAME:PASSWORD; Flower can stop workers, so it is not run without.";
      };
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = lib.optionals flower.enable [
      {
        assertion = flower.passwordFile != null && !units.inStore flower.passwordFile;
        message = "services.fileintel.flower.passwordFile must be outside the Nix store: Flower can stop workers.";
      }
    ];

    systemd.services.fileintel-backup = lib.mkIf backup.enable (
      let
        service = {
          description = "FileIntel: copy of the database and the documents";
          argv = [ "sh" ];
          environment = lib.filterAttrs (
            name: _: name == "DATABASE_URL"
          ) cfg.plan.services.migrate.environment;
          inherit (cfg.plan.services.migrate) secrets;
          once = true;
          memoryMax = null;
          memoryReservation = null;
          after = [ "postgres" ];
        };
        script = pkgs.writeShellScript "fileintel-backup" (
          scripts.makeBackup {
            inherit (backup) location keep;
            inherit blobDir;
          }
        );
        built = units.unit "backup" service {
          inherit (cfg) user group stateDir;
          environmentFiles = files;
          credentials = lib.mapAttrs (_: toString) cfg.credentials;
          launch = "${launch}";
          programs.sh = "${script}";
          local = lib.optional cfg.postgres.createLocally "postgres";
        };
      in
      built
      // {
        inherit (backup) startAt;
        wantedBy = [ ];
        path = [
          pkgs.coreutils
          pkgs.findutils
          backup.package
        ];
        environment = units.asWritten built.environment;
        unitConfig = built.unitConfig // {
          RequiresMountsFor = built.unitConfig.RequiresMountsFor ++ [ backup.location ];
        };
        serviceConfig = removeAttrs built.serviceConfig [ "RemainAfterExit" ] // {
          ReadWritePaths = [
            cfg.stateDir
            backup.location
          ];
          IOSchedulingClass = "idle";
          # The timer comes again.
          Restart = "no";
        };
      }
    );
    # A host that was off at its time copies when it is on again.
    systemd.timers.fileintel-backup = lib.mkIf backup.enable { timerConfig.Persistent = true; };
    systemd.tmpfiles.settings.fileintel-backup = lib.mkIf backup.enable {
      ${backup.location}.d = {
        inherit (cfg) user group;
        mode = "0700";
      };
    };

    systemd.services.fileintel-flower = lib.mkIf flower.enable {
      description = "Flower for FileIntel";
      after = [ "network-online.target" ] ++ secretsUnit;
      wants = [ "network-online.target" ] ++ secretsUnit;
      restartTriggers = units.triggers cfg.madeSecrets;
      wantedBy = [ "multi-user.target" ];
      environment = {
        FLOWER_ADDRESS = "127.0.0.1";
        FLOWER_PORT = toString flower.port;
        HOME = "/run/fileintel-flower";
      };
      serviceConfig = units.hardening // {
        Type = "exec";
        ExecStart = units.command [
          "${launch}"
          "${runFlower}"
        ];
        DynamicUser = true;
        RuntimeDirectory = "fileintel-flower";
        WorkingDirectory = "/run/fileintel-flower";
        Slice = "fileintel.slice";
        Restart = "always";
        RestartSec = 10;
        ProcSubset = "pid";
        EnvironmentFile = files;
        LoadCredential =
          lib.optional (flower.passwordFile != null) "FLOWER_BASIC_AUTH:${toString flower.passwordFile}"
          ++ brokerUrl;
      };
    };
  };
}
