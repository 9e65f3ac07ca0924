# What must not stand in the Nix store, which everybody on the machine can read.
let
  inherit (builtins) match;
in
{
  # A variable named so holds a secret, but for two of tokenizers' own.
  isSecretName =
    name:
    match ".*(PASSWORD|SECRET|TOKEN|API_?KEY).*" name != null
    && match "(TOKENIZERS|TIKTOKEN)_.*" name == null;

  # A URL with a password in it.
  hasPassword =
    value:
    match "[a-z0-9+]+://[^/@]*:[^/@]+@.*" value != null || match ".*[?&]password=.*" value != null;

  refusal =
    name:
    "${name} holds a secret, and everybody can read the Nix store: put it into the environment file instead";
}
