# The machines of nix/vm-test.nix on the bench: what fails of them, the limits of their units, and the test's script.
{ nixpkgs }:
let
  lib = import "${nixpkgs}/lib";
  bench = import ./bench.nix { inherit lib; };
  test = import ../../nix/vm-test.nix {
    inherit (bench) pkgs;
    self.nixosModules.default = ../../nix/modules;
  };
  shown =
    node:
    let
      inherit (bench.evaluate [ node ]) config;
    in
    {
      failed = map (entry: entry.message) (builtins.filter (entry: !entry.assertion) config.assertions);
      networks = config.services.fileintel.postgres.allowedNetworks;
      limits = lib.mapAttrs (_: unit: unit.serviceConfig.MemoryMax or null) config.systemd.services;
    };
in
{
  inherit (test) testScript;
  nodes = lib.mapAttrs (_: shown) test.nodes;
}
