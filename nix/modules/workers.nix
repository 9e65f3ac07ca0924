# services.fileintel.workers: the Celery workers of workers.toml, and any that a host adds.
{ config, lib, ... }:
let
  cfg = config.services.fileintel;
  options = import ./options.nix { inherit lib; };
  layout = fromTOML (builtins.readFile ../../fileintel/workers.toml);
  queues = lib.attrNames layout.queues;
  inherit (options.declared.CELERY_WORKER_POOL) choices;

  resolved =
    value: if lib.isString value && options.declared ? ${value} then cfg.settings.${value} else value;
  roleOf = pool: if pool == "gevent" then "gevent-worker" else "prefork-worker";

  nullable =
    type: description:
    lib.mkOption {
      type = lib.types.nullOr type;
      default = null;
      inherit description;
    };

  worker = lib.types.submodule (
    { config, ... }:
    {
      options = {
        enable = lib.mkOption {
          type = lib.types.bool;
          default = lib.elem (roleOf config.pool) cfg.roles;
          defaultText = lib.literalMD "whether `roles` has `gevent-worker`, or, for any other pool, `prefork-worker`";
          description = "Whether the worker runs on this host.";
        };
        pool = lib.mkOption {
          type = lib.types.enum choices;
          default = "prefork";
          description = "Celery's pool: processes compute (prefork), greenlets wait for the LLM server (gevent).";
        };
        concurrency = nullable lib.types.ints.positive "Processes, or greenlets: the most LLM calls in flight.";
        queues = lib.mkOption {
          type = lib.types.nonEmptyListOf (lib.types.enum queues);
          description = "Queues the worker serves, of those in fileintel/workers.toml.";
        };
        hostname = nullable lib.types.str "Name that Celery knows the worker by; `%h` is the host. Unset: NAME_POOL@%h.";
        prefetchMultiplier = nullable lib.types.ints.positive "Tasks fetched ahead, for each process or greenlet.";
        memoryMax = nullable options.size "Memory over which the worker is killed (MemoryMax).";
        memoryHigh = nullable options.size "Memory over which it is slowed down (MemoryHigh). Unset: 90% of `memoryMax`.";
        memoryReservation = nullable options.size "Memory kept for the worker (MemoryLow).";
        environment = lib.mkOption {
          type = lib.types.attrsOf lib.types.str;
          default = { };
          description = "More variables for this worker alone.";
        };
      };
    }
  );
in
{
  options.services.fileintel.workers = lib.mkOption {
    type = lib.types.attrsOf worker;
    default = { };
    example = lib.literalExpression ''
      {
        graphrag.concurrency = 250;
        # A second gevent worker that answers questions and never builds an index.
        questions = {
          pool = "gevent";
          queues = [ "graphrag_queries" ];
          concurrency = 50;
          memoryMax = "5G";
        };
      }
    '';
    description = ''
      Celery workers by name. `main` (prefork) and `graphrag` (gevent) are there with the values of
      fileintel/workers.toml and {option}`services.fileintel.settings`; another takes what it does not say from the one
      with the same kind of pool.
    '';
  };

  # A definition of an option's default would be replaced as a whole by the first worker a host says anything of.
  config.services.fileintel.workers = lib.mapAttrs (
    _: entry:
    lib.mapAttrs (_: lib.mkDefault) {
      pool = resolved entry.pool;
      concurrency = resolved entry.concurrency;
      inherit (entry) queues hostname;
      prefetchMultiplier = entry.prefetch_multiplier;
      memoryMax = resolved entry.memory_limit;
      memoryReservation = resolved entry.memory_reservation;
    }
  ) layout.workers;
}
