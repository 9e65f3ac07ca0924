{
  description = "A host that runs FileIntel";

  inputs = {
    # Where your copy of FileIntel lies.
    fileintel.url = "git+file:///etc/nixos/fileintel";
    nixpkgs.follows = "fileintel/nixpkgs";
  };

  outputs =
    { nixpkgs, fileintel, ... }:
    {
      nixosConfigurations.documents = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          fileintel.nixosModules.default
          ./configuration.nix
        ];
      };
    };
}
