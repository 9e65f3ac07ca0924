# Stands in for nixpkgs where only its lib is at hand: derivations that have names, inputs and nothing to build, made by
# functions that take the arguments their models take and no others. With it, every output of the flake is evaluated.
{ lib, root }:
let
  outputs = (import (root + "/flake.nix")).outputs { inherit self nixpkgs; };
  self = outputs // {
    outPath = root;
  };
  nixpkgs = {
    inherit lib;
    legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packages;
  };

  packages =
    system:
    lib.makeExtensible (
      pkgs:
      let
        # What cannot be an input of a derivation is still evaluated: it is written into an argument.
        made =
          name: attributes: extra:
          let
            text = builtins.toJSON (
              removeAttrs attributes [
                "meta"
                "passthru"
              ]
            );
            derived = derivation {
              inherit name system;
              builder = "/bin/sh";
              args = [
                "-c"
                text
              ];
            };
          in
          removeAttrs attributes [
            "meta"
            "passthru"
          ]
          // derived
          // (attributes.passthru or { })
          // {
            meta = attributes.meta or { };
          }
          // extra;
        simple =
          name:
          made "${name}-1.0" { } {
            version = "1.0";
            meta.mainProgram = name;
          };
        package =
          known: arguments:
          let
            unknown = lib.subtractLists known (lib.attrNames arguments);
          in
          if unknown == [ ] then
            made "${arguments.pname}-${arguments.version}" arguments { inherit (arguments) pname version; }
          else
            throw "unknown arguments: ${toString unknown}";
      in
      {
        inherit (pkgs.stdenv.hostPlatform) system;
        lib = lib // {
          # Nix 2.8 lacks what lib.fileset stands on.
          fileset = {
            unions = lib.flatten;
            toSource =
              { root, fileset }:
              let
                missing = lib.filter (path: !builtins.pathExists path) (lib.flatten fileset);
              in
              if missing == [ ] then toString root else throw "no such files: ${toString missing}";
          };
        };
        callPackage = lib.callPackageWith pkgs;
        stdenv = {
          hostPlatform = { inherit system; };
          cc.cc.lib = simple "gcc-lib";
        };
        python312 = simple "python3" // {
          pythonVersion = "3.12";
          buildEnv = lib.makeOverridable ({ extraLibs }: made "python3-env" { inherit extraLibs; } { }) {
            extraLibs = [ ];
          };
          pkgs = {
            buildPythonPackage = package [
              "pname"
              "version"
              "format"
              "pyproject"
              "src"
              "build-system"
              "dependencies"
              "nativeBuildInputs"
              "nativeCheckInputs"
              "buildInputs"
              "dontStrip"
              "dontCheckRuntimeDeps"
              "doCheck"
              "passthru"
              "pythonImportsCheck"
              "checkPhase"
              "env"
            ];
            mkPythonEditablePackage =
              {
                pname,
                version,
                scripts,
                root,
              }@arguments:
              made "${pname}-${version}-editable" arguments { };
          };
        };
        fetchurl = { url, sha256 }: made (baseNameOf url) { inherit url sha256; } { };
        postgresql_17 = simple "postgresql" // {
          withPackages =
            choose: made "postgresql-and-plugins" { plugins = choose { pgvector = simple "pgvector"; }; } { };
        };
        runCommand =
          name: arguments: script:
          made name (arguments // { inherit script; }) { };
        runCommandLocal = pkgs.runCommand;
        writeText = name: text: made name { inherit text; } { };
        writeShellScriptBin = name: text: made name { inherit text; } { meta.mainProgram = name; };
        linkFarm = name: set: made name { paths = lib.mapAttrs (_: toString) set; } { };
        mkShell = { packages, ... }@arguments: made "shell" arguments { inherit (arguments) shellHook; };
        dockerTools = {
          binSh = simple "bin-sh";
          fakeNss =
            lib.makeOverridable
              (
                { extraPasswdLines, extraGroupLines }: made "nss" { inherit extraPasswdLines extraGroupLines; } { }
              )
              {
                extraPasswdLines = [ ];
                extraGroupLines = [ ];
              };
          streamLayeredImage =
            {
              name,
              tag,
              created,
              config,
              contents,
              fakeRootCommands,
              layeringPipeline ? null,
            }@arguments:
            made "stream-${name}" arguments { inherit config layeringPipeline; };
        };
        testers.runNixOSTest = test: builtins.seq test.testScript (simple "vm-test");
      }
      // lib.genAttrs [
        "autoPatchelfHook"
        "bash"
        "cacert"
        "chromium"
        "coreutils"
        "docker-client"
        "nixfmt"
        "nixfmt-tree"
        "openssl"
        "process-compose"
        "skopeo"
        "tzdata"
        "uv"
        "valkey"
        "zlib"
      ] simple
    );
  named = lib.mapAttrs (_: lib.mapAttrs (_: output: output.drvPath));
in
{
  packages = named outputs.packages;
  devShells = named outputs.devShells;
  checks = named outputs.checks;
  formatter = lib.mapAttrs (_: output: output.drvPath) outputs.formatter;
  apps = lib.mapAttrs (_: lib.mapAttrs (_: app: app.program)) outputs.apps;
  nixosModules = lib.attrNames outputs.nixosModules;
  template = outputs.templates.default;
  image = { inherit (outputs.packages.x86_64-linux.image-app) config layeringPipeline; };
  shellHook = outputs.devShells.x86_64-linux.default.shellHook;
}
