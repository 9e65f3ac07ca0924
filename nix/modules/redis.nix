# services.fileintel.redis: the broker, which must keep every message, and the cache, which may forget.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.fileintel;
  inherit (cfg) redis;
  options = import ./options.nix { inherit lib; };
  units = import ./units.nix;
  sizes = import ../sizes.nix;
  limit = "REDIS_MEMORY_LIMIT";

  common = what: port: {
    createLocally = lib.mkOption {
      type = lib.types.bool;
      default = lib.elem "redis" cfg.roles;
      defaultText = lib.literalMD "whether `roles` has `redis`";
      description = "Run the ${what} on this host.";
    };
    port = lib.mkOption {
      type = lib.types.port;
      default = port;
      description = "Port of the ${what}.";
    };
    bind = lib.mkOption {
      type = lib.types.str;
      default = "127.0.0.1";
      example = "127.0.0.1 10.0.0.5";
      description = ''
        Addresses the ${what} listens on. Where it is not the default, {option}`services.fileintel.openFirewall` opens
        the firewall for it.
      '';
    };
    passwordFile = lib.mkOption {
      type = lib.types.nullOr options.secretFile;
      default = null;
      example = "/run/secrets/fileintel-${what}";
      description = ''
        File with the ${what}'s password, for hosts that share it; without one a password is made on the first start.
        The processes of this host are told either.
      '';
    };
    memoryMax = lib.mkOption {
      type = options.size;
      default = cfg.settings.${limit};
      defaultText = lib.literalMD "`settings.${limit}` (${
        builtins.toJSON options.declared.${limit}.default
      })";
      description = "Memory over which the ${what} is killed.";
    };
  };

  # The option of nixpkgs's module for those parameters of services.nix that have one.
  server = which: parameters: {
    enable = true;
    inherit (redis.${which}) port bind;
    # Processes speak TCP with a password; a socket would be a way in without one.
    unixSocket = null;
    appendOnly = parameters.appendonly == "yes";
    appendFsync = parameters.appendfsync or "everysec";
    save = [ ];
    requirePassFile =
      if redis.${which}.passwordFile == null then
        "${cfg.secretsDir}/fileintel-${which}.password"
      else
        toString redis.${which}.passwordFile;
    settings = lib.mapAttrs (_: lib.mkDefault) (
      # A broker that is full must refuse messages, not be killed and read its file back until it is killed again.
      lib.optionalAttrs (which == "broker") {
        maxmemory = toString (sizes.bytes redis.broker.memoryMax * 2 / 3);
      }
      // removeAttrs parameters [
        "appendonly"
        "appendfsync"
        "save"
      ]
    );
  };

  unit = which: {
    serviceConfig = units.memory { inherit (redis.${which}) memoryMax; } // {
      # Valkey, the same protocol under the BSD licence, for ours alone: another server's files may be newer than it reads.
      ExecStart = lib.mkForce (
        lib.concatStringsSep " " (
          [
            (lib.getExe' pkgs.valkey "valkey-server")
            "/var/lib/redis-fileintel-${which}/redis.conf"
          ]
          ++ map lib.escapeShellArg (config.services.redis.servers."fileintel-${which}".extraParams or [ ])
        )
      );
      Slice = "fileintel.slice";
      Restart = lib.mkDefault "always";
      RestartSec = lib.mkDefault 2;
    };
    after = lib.mkIf (redis.${which}.passwordFile == null) [ "fileintel-secrets.service" ];
    wants = lib.mkIf (redis.${which}.passwordFile == null) [ "fileintel-secrets.service" ];
    unitConfig.StartLimitIntervalSec = 0;
  };

  opened =
    which: lib.optional (cfg.openFirewall && units.isOpen redis.${which}.bind) redis.${which}.port;
  isLocal = which: cfg.enable && redis.${which}.createLocally;
  why = "such a broker drops queued tasks when memory runs short; only noeviction keeps them.";
  policy = config.services.redis.servers.fileintel-broker.settings.maxmemory-policy or "noeviction";

  # Other Redis servers of this host that listen where ours is to.
  rivals =
    which:
    lib.attrNames (
      lib.filterAttrs (
        name: other:
        !lib.elem name [
          "fileintel-broker"
          "fileintel-cache"
        ]
        && other.enable
        && other.port == redis.${which}.port
      ) config.services.redis.servers
    );
  ofServer =
    which: variable:
    let
      option = "services.fileintel.redis.${which}";
      said =
        cfg.credentials ? ${variable} && redis.${which}.passwordFile == null
        || cfg.settings.${variable} != "";
    in
    lib.optionals redis.${which}.createLocally [
      {
        assertion = !said;
        message = "${variable} is set, and this host has a ${which} of its own with a password: leave it out, or switch that off with ${option}.createLocally.";
      }
      {
        assertion = rivals which == [ ];
        message = "${option}.port: services.redis.servers.${toString (rivals which)} listens on ${toString redis.${which}.port} too; give one of them another.";
      }
    ];
in
{
  options.services.fileintel.redis = {
    broker = common "broker" 6379 // {
      maxmemoryPolicy = options.alias cfg "FILEINTEL_BROKER_MAXMEMORY_POLICY";
    };
    cache = common "cache" 6380 // {
      maxmemory = options.alias cfg "REDIS_MAXMEMORY";
    };
  };

  config = lib.mkMerge [
    {
      services.fileintel.chosen = {
        REDIS_MAXMEMORY = redis.cache.maxmemory;
      };
    }

    (lib.mkIf cfg.enable {
      assertions = [
        {
          assertion = redis.broker.maxmemoryPolicy == "noeviction";
          message = "services.fileintel.redis.broker.maxmemoryPolicy is ${redis.broker.maxmemoryPolicy}: ${why}";
        }
        {
          assertion = redis.broker.createLocally -> policy == "noeviction";
          message = "services.redis.servers.fileintel-broker.settings.maxmemory-policy is ${policy}: ${why}";
        }
        {
          assertion =
            redis.broker.createLocally && redis.cache.createLocally -> redis.broker.port != redis.cache.port;
          message = "services.fileintel.redis: broker and cache have the same port ${toString redis.broker.port}.";
        }
        {
          assertion =
            redis.cache.createLocally -> sizes.bytes redis.cache.maxmemory < sizes.bytes redis.cache.memoryMax;
          message = "services.fileintel.redis.cache: maxmemory ${redis.cache.maxmemory} does not fit into memoryMax ${redis.cache.memoryMax}: it would be killed before it forgets anything.";
        }
      ]
      ++ ofServer "broker" "REDIS_URL"
      ++ ofServer "cache" "FILEINTEL_CACHE_URL";
    })

    (lib.mkIf (isLocal "broker") {
      services.redis.servers.fileintel-broker = server "broker" cfg.plan.services.redis-broker.parameters;
      systemd.services.redis-fileintel-broker = unit "broker";
      networking.firewall.allowedTCPPorts = opened "broker";
    })

    (lib.mkIf (isLocal "cache") {
      services.redis.servers.fileintel-cache = server "cache" cfg.plan.services.redis-cache.parameters;
      systemd.services.redis-fileintel-cache = unit "cache";
      networking.firewall.allowedTCPPorts = opened "cache";
    })
  ];
}
