# What `nix flake check` builds. The package's own check phase runs the unit tests.
{ pkgs, self }:
let
  inherit (pkgs)
    fileintel
    lib
    runCommand
    runCommandLocal
    writeText
    ;
  loaded = import ./load.nix { };
  compose = writeText "compose.yaml" (import ./compose.nix { }).text;
  environment = lib.toShellVars loaded.services.api.environment;
in
{
  package = fileintel;

  # The configuration that modules and images hand to the processes can work, says the program itself.
  configuration = runCommand "fileintel-configuration" { nativeBuildInputs = [ fileintel ]; } ''
    set -a
    ${environment}
    set +a
    FILEINTEL_STATE_DIR=$TMPDIR fileintel config check --offline | tee $out
  '';

  compose = runCommandLocal "fileintel-compose-is-current" { } ''
    diff ${../docs/compose.yaml} ${compose} && touch $out
  '';

  wheels =
    runCommandLocal "fileintel-wheels-agree" { nativeBuildInputs = [ fileintel.environment ]; }
      ''
        python ${../tools/wheels.py} --check --root ${
          lib.fileset.toSource {
            root = ../.;
            fileset = lib.fileset.unions [
              ./wheels.json
              ../pyproject.toml
              ../requirements.lock
              ../requirements-dev.lock
            ];
          }
        } && touch $out
      '';

  vm = pkgs.testers.runNixOSTest (import ./vm-test.nix { inherit pkgs self; });
}
