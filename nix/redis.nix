# Valkey under Redis's names: the same protocol, commands and configuration under the BSD licence; Redis 8 is AGPL.
{
  lib,
  runCommandLocal,
  valkey,
}:
runCommandLocal "redis-by-valkey-${valkey.version}" { inherit (valkey) version meta; } ''
  mkdir -p $out/bin
  ln -s ${lib.getExe' valkey "valkey-server"} $out/bin/redis-server
  ln -s ${lib.getExe' valkey "valkey-cli"} $out/bin/redis-cli
''
