# services.fileintel: what holds for the whole host. The parts' own options stand in their modules.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  options = import ./options.nix { inherit lib; };
in
{
  options.services.fileintel = {
    enable = lib.mkEnableOption "FileIntel, document intelligence on GraphRAG";
    package = lib.mkPackageOption pkgs "fileintel" { };
    roles = mkOption {
      type = types.listOf (
        types.enum [
          "postgres"
          "redis"
          "prefork-worker"
          "gevent-worker"
          "api"
        ]
      );
      default = [
        "postgres"
        "redis"
        "prefork-worker"
        "gevent-worker"
        "api"
      ];
      example = [ "gevent-worker" ];
      description = ''
        What runs on this host. Several definitions add up; each part can also be switched by itself, with
        `postgres.createLocally`, `redis.broker.createLocally`, `redis.cache.createLocally`, `workers.NAME.enable` and
        `api.enable`.
      '';
    };
    settings = mkOption {
      type = types.submodule {
        freeformType = types.attrsOf (
          types.nullOr (
            types.oneOf [
              types.str
              types.int
              types.float
            ]
          )
        );
        options = options.settings;
      };
      default = { };
      example = {
        OPENAI_BASE_URL = "http://gpu.example:8000/v1";
        FILEINTEL_CHAT_MODEL = "Qwen/Qwen3-32B";
        HTTPS_PROXY = "http://proxy.example:3128";
      };
      description = ''
        FileIntel's settings by their environment names; other names are handed to the processes as they are. Secrets
        are refused, for everybody can read the Nix store: they belong into `credentials` or `environmentFile`.
      '';
    };
    credentials = mkOption {
      type = types.attrsOf options.secretFile;
      default = { };
      example = {
        OPENAI_API_KEY = "/run/secrets/openai";
      };
      description = ''
        Files that hold one secret each, by the environment name FileIntel knows it by. systemd hands them over
        (LoadCredential), each to the units that need it; they may be readable by root alone.
      '';
    };
    environmentFile = mkOption {
      type = types.nullOr options.secretFile;
      default = null;
      example = "/run/secrets/fileintel.env";
      description = "File with NAME=VALUE lines, for secrets not in `credentials`; it stands above both and `settings`.";
    };
    stateDir = mkOption {
      type = types.strMatching "/[^ ]*[^/ ]";
      default = "/var/lib/fileintel";
      description = "Folder of everything FileIntel keeps: documents, backups and the first admin key.";
    };
    secretsDir = mkOption {
      type = types.str;
      default = "/var/lib/fileintel-secrets";
      internal = true;
      readOnly = true;
      description = "Folder of the passwords that are made on this host; root's alone.";
    };
    user = mkOption {
      type = types.str;
      default = "fileintel";
      description = "User under which FileIntel runs; `fileintel` is made.";
    };
    group = mkOption {
      type = types.str;
      default = "fileintel";
      description = "Group under which FileIntel runs; `fileintel` is made.";
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to open the firewall for what listens on other addresses than 127.0.0.1.";
    };
    chosen = mkOption {
      type = types.attrsOf types.raw;
      internal = true;
      description = "Settings that have an option of their own, by their environment names.";
    };
    madeSecrets = mkOption {
      type = types.raw;
      internal = true;
      readOnly = true;
      description = "The Redis servers whose URLs are made on this host, as scripts.makeSecrets takes them.";
    };
    plan = mkOption {
      type = types.raw;
      internal = true;
      readOnly = true;
      description = "The processes, as plan.nix has them.";
    };
  };
}
