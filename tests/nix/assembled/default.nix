# The packages of the assembled nixpkgs: corepkgs, which has nixpkgs's builders and some six hundred of its packages as
# they were, and stand-ins under the names of those that NixOS and FileIntel name besides. Nothing here can be built.
{
  overlays ? [ ],
  ...
}@arguments:
let
  lib = import ./lib;
  standIns =
    final: prev:
    let
      derivation =
        name:
        final.runCommandLocal "${name}-1" {
          pname = name;
          version = "1";
          meta.mainProgram = name;
        } "exit 1";
      package = name: lib.makeOverridable (_: derivation name) { };
      packages = names: lib.genAttrs names package;

      postgresql =
        version:
        let
          described = extensions: {
            inherit version;
            psqlSchema = lib.versions.major version;
            installedExtensions = extensions;
          };
          server =
            package "postgresql"
            // described [ ]
            // {
              withJIT = server;
              withoutJIT = server;
              pkgs = packages [ "pgvector" ];
              withPackages =
                choose:
                let
                  paths = choose server.pkgs;
                in
                final.buildEnv {
                  name = "postgresql-and-plugins-${version}";
                  inherit paths;
                }
                // described paths;
            };
        in
        server;
      # Beside what corepkgs's Python has: Flower, and what the driver of NixOS's VM tests imports.
      pythonPackages = packages [
        "black"
        "colorama"
        "flower"
        "ipython"
        "junit-xml"
        "mypy"
        "ptpython"
        "redis"
        "ruff"
      ];
    in
    packages [
      "bcache-tools"
      "chromium"
      "dhcpcd"
      "docker-client"
      "fish"
      "grub2"
      "grub2_efi"
      "hicolor-icon-theme"
      "host"
      "kmod-blacklist-ubuntu"
      "kmod-debian-aliases"
      "lesspipe"
      "logrotate"
      "makeInitrdNGTool"
      "mkpasswd"
      "mypy"
      "nettools"
      "nix-bash-completions"
      "nix-info"
      "nixfmt"
      "nixfmt-tree"
      "nixos-container"
      "nixos-firewall-tool"
      "nixos-option"
      "nixos-rebuild"
      "nsncd"
      "openresolv"
      "ruff"
      "sound-theme-freedesktop"
      "time"
      "xonsh"
      "zsh"
    ]
    // {
      _type = "pkgs";
      path = toString ./.;

      python3 = prev.python3.override {
        packageOverrides = _: _: removeAttrs pythonPackages [ "black" ];
      };
      python3Packages = prev.python3Packages // pythonPackages;

      postgresql = final.postgresql_17;
      valkey = package "valkey" // {
        serverBin = "valkey-server";
      };

      aggregateModules =
        modules:
        lib.makeOverridable ({ name }: final.runCommandLocal name { inherit modules; } "exit 1") {
          name = "kernel-modules";
        };
      dockerTools = prev.dockerTools.override {
        fakeNss_ = final.callPackage ./core/build-support/fake-nss { };
      };
      formats = import ./pkgs/pkgs-lib/formats.nix {
        inherit lib;
        pkgs = final;
      };
      makeDBusConf = _: package "dbus-conf";
      makeDesktopItem = _: package "desktop-item";
      mkShell = final.callPackage ./pkgs/build-support/mkshell { };
      nixos-artwork.wallpapers = lib.genAttrs [ "simple-dark-gray" "simple-dark-gray-bootloader" ] (_: {
        gnomeFilePath = "/wallpaper.png";
      });
      qemu_test = package "qemu" // {
        ga = package "qemu-guest-agent";
      };
      testers = prev.testers // {
        runNixOSTest =
          test:
          (import ./nixos/lib { inherit lib; }).runTest {
            imports = [ test ];
            hostPkgs = final;
          };
      };
      xorg =
        prev.xorg
        // packages [
          "xauth"
          "xwininfo"
        ]
        // {
          inherit (final) lndir;
        };
    }
    // lib.mapAttrs' (major: version: lib.nameValuePair "postgresql_${major}" (postgresql version)) {
      "16" = "16.9";
      "17" = "17.5";
      "18" = "18.1";
    };
in
import ./core (removeAttrs arguments [ "crossSystem" ] // { overlays = [ standIns ] ++ overlays; })
