{
  description = "Self-hosted document intelligence on GraphRAG, answered with citations that can be checked";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll =
        render:
        nixpkgs.lib.genAttrs systems (
          system: render (nixpkgs.legacyPackages.${system}.extend self.overlays.default)
        );
      imagesOf =
        pkgs:
        removeAttrs (pkgs.callPackage ./nix/images.nix { }) [
          "override"
          "overrideDerivation"
        ];
      # The package as it is locked here, and not of the host's nixpkgs; `key`: imported twice it is one.
      module =
        { lib, pkgs, ... }:
        {
          key = "fileintel";
          imports = [ ./nix/modules ];
          services.fileintel.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        };
      role = name: {
        imports = [ module ];
        services.fileintel = {
          enable = nixpkgs.lib.mkDefault true;
          roles = [ name ];
        };
      };
    in
    {
      overlays.default = final: _: { fileintel = final.callPackage ./nix/package.nix { }; };

      packages = forAll (
        pkgs:
        imagesOf pkgs
        // {
          default = pkgs.fileintel;
          compose = pkgs.writeText "compose.yaml" (import ./nix/compose.nix { }).text;
        }
      );

      apps = forAll (
        pkgs:
        import ./nix/apps.nix {
          inherit pkgs;
          inherit (imagesOf pkgs) load-images;
        }
      );

      devShells = forAll (pkgs: {
        default = pkgs.callPackage ./nix/devshell.nix { };
      });
      formatter = forAll (pkgs: pkgs.nixfmt-tree);
      checks = forAll (pkgs: import ./nix/checks.nix { inherit pkgs self; });

      nixosModules = {
        default = module;
      }
      // nixpkgs.lib.genAttrs [ "postgres" "redis" "prefork-worker" "gevent-worker" "api" ] role;

      templates.default = {
        path = ./nix/template;
        description = "A host that runs FileIntel";
      };
    };
}
