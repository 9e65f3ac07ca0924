# The process list as it is without any nixpkgs: what `nix-instantiate --eval` and the tests start from.
{
  overrides ? { },
  hosts ? { },
  workers ? fromTOML (builtins.readFile ../fileintel/workers.toml),
}:
let
  declared = builtins.fromJSON (builtins.readFile ./settings.json);
  inherit ((fromTOML (builtins.readFile ../pyproject.toml))) project;
  rendered = import ./services.nix {
    settings = declared;
    inherit workers overrides hosts;
  };
in
rendered
// {
  declared = declared.settings;
  inherit (project) version;
  workersEnvironment = workers.environment;
}
