# services.fileintel.api: the API with the web interface.
{ config, lib, ... }:
let
  cfg = config.services.fileintel;
  inherit (cfg) api;
  options = import ./options.nix { inherit lib; };
  units = import ./units.nix;
in
{
  options.services.fileintel.api = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = lib.elem "api" cfg.roles;
      defaultText = lib.literalMD "whether `roles` has `api`";
      description = "Whether the API and the web interface run on this host.";
    };
    host = options.alias cfg "FILEINTEL_API_HOST";
    port = options.alias cfg "FILEINTEL_API_PORT";
    memoryMax = lib.mkOption {
      type = lib.types.nullOr options.size;
      default = null;
      example = "4G";
      description = "Memory over which the API is killed; unset: no limit. Uploads and answers are streamed.";
    };
  };

  config = {
    services.fileintel.chosen = {
      FILEINTEL_API_HOST = api.host;
      FILEINTEL_API_PORT = api.port;
    };
    networking.firewall.allowedTCPPorts = lib.mkIf (
      cfg.enable && api.enable && cfg.openFirewall && units.isOpen api.host
    ) [ api.port ];
  };
}
