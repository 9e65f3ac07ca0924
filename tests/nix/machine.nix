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
  # As a host has it that takes the flake's module.
  common = { pkgs, ... }: {
    services.fileintel.package = lib.mkDefault (pkgs.callPackage (root + "/nix/package.nix") { });
    documentation.enable = false;
    boot.loader.grub.enable = lib.mkForce false;
    fileSystems."/" = lib.mapAttrs (_: lib.mkDefault) {
      device = "/dev/sda1";
      fsType = "ext4";
    };
    system.stateVersion = "26.05";
  };
  evaluated =
    if isWhole then
      import "${nixpkgs}/nixos/lib/eval-config.nix" {
        inherit lib;
        system = "x86_64-linux";
        modules = ours ++ [ common ];
      }
    else
      (import ./bench.nix {
        inherit lib;
        nixos = if hasNixos then /. + nixpkgs + "/nixos" else null;
      }).evaluate
        ours;
  inherit (evaluated) config;
  failed = map (entry: entry.message) (builtins.filter (entry: !entry.assertion) config.assertions);
  ofOurs =
    name:
    lib.any (prefix: lib.hasPrefix prefix name) [
      "fileintel"
      "redis-fileintel"
      "postgresql"
    ];
  shown = unit: {
    inherit (unit)
      description
      environment
      after
      wants
      requires
      wantedBy
      unitConfig
      restartTriggers
      ;
    serviceConfig = unit.serviceConfig;
  };
in
if failed != [ ] then
  throw "Failed assertions: ${builtins.concatStringsSep " | " failed}"
else
  {
    toplevel = if isWhole then config.system.build.toplevel.drvPath else null;
    warnings = if isWhole then config.warnings else [ ];
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
      inherit (server)
        port
        bind
        appendOnly
        save
        unixSocket
        requirePassFile
        settings
        ;
    }) config.services.redis.servers;
    postgres = {
      inherit (config.services.postgresql)
        enable
        settings
        authentication
        ensureDatabases
        ;
    };
    ports = config.networking.firewall.allowedTCPPorts;
    checks = map (check: check.environment or check.drvAttrs) config.system.checks;
    users = builtins.attrNames config.users.users;
  }
