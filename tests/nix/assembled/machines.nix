# The machines of nix/vm-test.nix as what a Debian 13 with systemd needs to be one of them: their units, users, folders
# and files. machines.py makes containers of it, where no virtual machine can be built, and runs the test's script.
#
#   nix-build --option sandbox false machines.nix --arg nixpkgs FOLDER ...    with the arguments of build.nix
{
  nixpkgs,
  root ? ../../..,
  ...
}@arguments:
let
  lib = import (nixpkgs + "/lib");
  pkgs = import ./build.nix arguments;

  test = import (root + "/nix/vm-test.nix") {
    inherit pkgs;
    self.nixosModules.default = {
      imports = [ (root + "/nix/modules") ];
      services.fileintel.package = lib.mkDefault pkgs.fileintel;
    };
  };

  # What NixOS would ask of the packages that are stand-ins here, and what the VM's module declares.
  bare = {
    options.virtualisation = lib.genAttrs [ "memorySize" "cores" "diskSize" ] (
      _: lib.mkOption { type = lib.types.int; }
    );
    config = {
      nixpkgs.pkgs = pkgs;
      boot.loader.grub.enable = false;
      documentation.enable = false;
      environment.stub-ld.enable = false;
      fileSystems."/".device = "/dev/vda";
      i18n.glibcLocales = pkgs.tzdata;
      system.stateVersion = "26.05";
    };
  };

  isOurs =
    name:
    lib.any (prefix: lib.hasPrefix prefix name) [
      "fileintel"
      "llm-server"
      "postgres"
      "redis-fileintel"
    ];
  ours = lib.filterAttrs (name: _: isOurs name);
  lines = lib.concatStringsSep "\n";

  machine =
    name: module:
    let
      evaluated = import (nixpkgs + "/nixos/lib/eval-config.nix") {
        inherit lib;
        system = null;
        modules = [
          module
          bare
        ];
      };
      inherit (evaluated) config options;
      text = name: content: pkgs.writeText (lib.replaceStrings [ "@" "/" ] [ "-" "-" ] name) content;

      link = unit: kind: target: ''
        mkdir -p "$out/system/${target}.${kind}"
        ln -s "../${unit}" "$out/system/${target}.${kind}/${unit}"
      '';
      units = lib.mapAttrsToList (
        unit: described:
        ''
          cp ${text unit described.text} "$out/system/${unit}"
        ''
        + lib.concatMapStrings (link unit "wants") described.wantedBy
        + lib.concatMapStrings (link unit "requires") described.requiredBy
      ) (ours config.systemd.units);
      files = lib.mapAttrsToList (path: file: ''
        install -D -m ${file.mode} ${file.source} "$out/etc/${path}"
      '') (ours config.environment.etc);
      folders = lib.concatMap (
        paths:
        lib.concatLists (
          lib.mapAttrsToList (
            path: rules:
            lib.mapAttrsToList (_: rule: "${rule.type} ${path} ${rule.mode} ${rule.user} ${rule.group}") rules
          ) paths
        )
      ) (lib.attrValues (ours config.systemd.tmpfiles.settings));
      users = lib.mapAttrsToList (user: described: "u ${user} - - ${described.home} /bin/sh") (
        ours config.users.users
      );
      # The whole list names every program of a NixOS.
      programs = lib.concatMap (definition: definition.value) (
        lib.filter (
          definition: lib.hasPrefix (toString (root + "/nix/modules")) (toString definition.file)
        ) options.environment.systemPackages.definitionsWithLocations
      );
    in
    pkgs.runCommandLocal "fileintel-machine-${name}" { } ''
      mkdir -p $out/{bin,etc,system,sysusers.d,tmpfiles.d}
      ${lib.concatStrings (units ++ files)}
      cp ${text "folders" (lines folders + "\n")} $out/tmpfiles.d/fileintel.conf
      cp ${text "users" (lines users + "\n")} $out/sysusers.d/fileintel.conf
      for package in ${toString programs}; do ln -s $package/bin/* $out/bin/; done
    '';
in
pkgs.runCommandLocal "fileintel-machines" { } ''
  mkdir $out
  cp ${pkgs.writeText "script" test.testScript} $out/script.py
  ${lib.concatStrings (
    lib.mapAttrsToList (name: module: ''
      ln -s ${machine name module} $out/${name}
    '') test.nodes
  )}
''
