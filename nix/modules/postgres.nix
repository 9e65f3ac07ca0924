# services.fileintel.postgres: a Postgres with pgvector on this host, tuned by FileIntel's settings.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.fileintel;
  inherit (cfg) postgres;
  options = import ./options.nix { inherit lib; };
  units = import ./units.nix;

  # POSTGRES_MEMORY_LIMIT is the unit's, the others are Postgres's own parameters.
  limit = "POSTGRES_MEMORY_LIMIT";
  isTuning = name: entry: entry.group == "postgres" && name != limit;
  variables = lib.attrNames (lib.filterAttrs isTuning options.declared);
  optionOf = options.camel "POSTGRES_";
  remote = postgres.allowedNetworks != [ ];

  # What the processes of this host may hold when all are busy: a pool each, and one for Celery's parent of processes.
  processes = lib.foldl' (
    sum: worker:
    sum
    + (
      if !worker.enable then
        0
      else if worker.pool == "gevent" then
        1
      else
        worker.concurrency + 1
    )
  ) (if cfg.api.enable then 1 else 0) (lib.attrValues cfg.plan.workers);
  held = processes * lib.toIntBase10 cfg.plan.settings.FILEINTEL_DATABASE_POOL_SIZE;
  inherit (config.services.postgresql.settings) max_connections;
  # For superusers, copies, whoever looks on.
  spare = options.connections_buffer;
in
{
  options.services.fileintel.postgres = {
    createLocally = lib.mkOption {
      type = lib.types.bool;
      default = lib.elem "postgres" cfg.roles;
      defaultText = lib.literalMD "whether `roles` has `postgres`";
      description = ''
        Run Postgres with pgvector on this host, with a database and a user for FileIntel. Without it, DATABASE_URL
        comes from {option}`services.fileintel.environmentFile` or {option}`services.fileintel.credentials`.
      '';
    };
    database = lib.mkOption {
      type = lib.types.strMatching "[a-z_][a-z0-9_]*";
      default = "fileintel";
      description = "Name of the database and of the role that owns it; it must be that of {option}`services.fileintel.user`.";
    };
    port = lib.mkOption {
      type = lib.types.port;
      default = 5432;
      description = "Port of Postgres; {option}`services.postgresql.settings.port` is set to it.";
    };
    memoryMax = options.alias cfg limit;
    allowedNetworks = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "10.0.0.0/24" ];
      description = ''
        Networks from which workers on other hosts may connect, with a password; none: Postgres listens on this host
        alone. The firewall is opened where {option}`services.fileintel.openFirewall` is set.
      '';
    };
    passwordFile = lib.mkOption {
      type = lib.types.nullOr options.secretFile;
      default = null;
      example = "/run/secrets/fileintel-postgres";
      description = "File with the role's password, which connections from `allowedNetworks` need.";
    };
  }
  // lib.listToAttrs (
    map (name: lib.nameValuePair (optionOf name) (options.alias cfg name)) variables
  );

  config = lib.mkMerge [
    {
      services.fileintel.chosen = {
        ${limit} = postgres.memoryMax;
      }
      // lib.genAttrs variables (name: postgres.${optionOf name});
    }

    (lib.mkIf (cfg.enable && postgres.createLocally) {
      assertions = [
        {
          assertion = postgres.database == cfg.user;
          message = "services.fileintel.postgres.database and services.fileintel.user must be the same: Postgres knows the user of a local connection by its name.";
        }
        {
          assertion = remote -> postgres.passwordFile != null;
          message = "services.fileintel.postgres.allowedNetworks is set without passwordFile: whoever is in such a network could read every document.";
        }
        {
          assertion = held + spare <= lib.toIntBase10 (toString max_connections);
          message = "services.postgresql.settings.max_connections is ${toString max_connections}, and full pools of this host's ${toString processes} processes hold ${toString held}, with ${toString spare} to spare: raise services.fileintel.postgres.maxConnections, or lower a worker's concurrency or FILEINTEL_DATABASE_POOL_SIZE.";
        }
      ];

      services.postgresql = {
        enable = true;
        extensions = packages: [ packages.pgvector ];
        ensureDatabases = [ postgres.database ];
        ensureUsers = [
          {
            name = postgres.database;
            ensureDBOwnership = true;
          }
        ];
        settings = lib.mapAttrs (_: lib.mkDefault) cfg.plan.services.postgres.parameters // {
          inherit (postgres) port;
        };
        enableTCPIP = lib.mkIf remote true;
        authentication = lib.mkIf remote (
          lib.concatMapStrings (
            network: "host ${postgres.database} ${postgres.database} ${network} scram-sha-256\n"
          ) postgres.allowedNetworks
        );
      };

      networking.firewall.allowedTCPPorts = lib.mkIf (remote && cfg.openFirewall) [ postgres.port ];

      systemd.services.postgresql.serviceConfig = units.memory { inherit (postgres) memoryMax; } // {
        # Postgres ends and starts its processes by itself when the kernel has killed one of them.
        OOMPolicy = "continue";
      };

      # As superuser, for pgvector may be made by no other; and before anything of ours is started.
      systemd.services.postgresql-setup.serviceConfig =
        let
          psql = lib.concatStringsSep " " [
            "${config.services.postgresql.package}/bin/psql"
            "--no-psqlrc --quiet --set=ON_ERROR_STOP=1"
            "--port=${toString postgres.port}"
          ];
          sql = pkgs.writeText "fileintel-postgres.sql" ''
            CREATE EXTENSION IF NOT EXISTS vector;
            ALTER EXTENSION vector UPDATE;
          '';
          # By psql's own quoting, from standard input: a password is no argument that `ps` shows.
          setPassword = pkgs.writeShellScript "fileintel-postgres-password" ''
            set -eu
            {
              echo "\\set password \`cat $CREDENTIALS_DIRECTORY/fileintel-password\`"
              echo "ALTER ROLE ${postgres.database} PASSWORD :'password';"
            } | ${psql} --dbname=postgres
          '';
        in
        {
          ExecStartPost = [
            "${psql} --dbname=${postgres.database} --file=${sql}"
          ]
          ++ lib.optional remote "${setPassword}";
          LoadCredential = lib.mkIf remote [ "fileintel-password:${toString postgres.passwordFile}" ];
        };
    })
  ];
}
