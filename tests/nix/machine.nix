# One machine's configuration, evaluated: NIXPKGS is a nixpkgs, its folders lib and nixos, or lib alone, and MODULE the
# path of a module. What a test asks of it, as JSON.
{
  nixpkgs,
  module,
  root ? ../..,
}:
let
  lib = import "${nixpkgs}/lib";
  ours = [
    (root + "/nix/modules")
    (/. + module)
  ];
  hasNixos = builtins.pathExists "${nixpkgs}/nixos/modules/system/boot/systemd.nix";
  isWhole = hasNixos && builtins.pathExists "${nixpkgs}/pkgs/top-level/default.nix";
  # Nothing is built, so a program that is not there will do.
  standIn = { pkgs, ... }: {
    services.fileintel.package = lib.mkDefault (pkgs.writeShellScriptBin "fileintel" "exit 0");
    boot.loader.grub.enable = lib.mkForce false;
    fileSystems."/" = lib.mapAttrs (_: lib.mkDefault) { device = "none"; fsType = "tmpfs"; };
    system.stateVersion = "26.05";
  };
  evaluated =
    if isWhole then
      import "${nixpkgs}/nixos/lib/eval-config.nix" { system = "x86_64-linux"; modules = ours ++ [ standIn ]; }
    else
      (import ./bench.nix {
        inherit lib;
        nixos = if hasNixos then /. + nixpkgs + "/nixos" else null;
      }).evaluate ours;
  inherit (evaluated) config;
  failed = map (entry: entry.message) (builtins.filter (entry: !entry.assertion) config.assertions);
  ofOurs = name: lib.any (prefix: lib.hasPrefix prefix name) [ "fileintel" "redis-fileintel" "postgresql" ];
  shown = unit: {
    inherit (unit) description environment after wants requires wantedBy unitConfig;
    serviceConfig = unit.serviceConfig;
  };
in
if failed != [ ] then
  throw "Failed assertions: ${builtins.concatStringsSep " | " failed}"
else
  {
    inherit isWhole;
    # As NixOS writes them, or, where there is no NixOS, as we do.
    texts = lib.mapAttrs (
      name: unit:
      if hasNixos then
        config.systemd.units."${name}.service".text
      else
        (import (root + "/nix/modules/units.nix")).text (shown unit)
    ) (lib.filterAttrs (name: _: lib.hasPrefix "fileintel" name) config.systemd.services);
    units = lib.mapAttrs (_: shown) (lib.filterAttrs (name: _: ofOurs name) config.systemd.services);
    slice = config.systemd.slices.fileintel.sliceConfig or { };
    redis = lib.mapAttrs (_: server: {
      inherit (server) port bind appendOnly save unixSocket requirePassFile settings;
    }) config.services.redis.servers;
    postgres = { inherit (config.services.postgresql) enable settings authentication ensureDatabases; };
    ports = config.networking.firewall.allowedTCPPorts;
    checks = map (check: check.environment or { }) config.system.checks;
    users = builtins.attrNames config.users.users;
  }
