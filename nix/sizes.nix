# Amounts of memory, in the spellings of fileintel/settings.py (20G, 2gb, 512MB; powers of 1024), for those who read
# other ones. Builtins only.
let
  units = {
    k = {
      factor = 1024;
      systemd = "K";
      postgres = "kB";
    };
    m = {
      factor = 1024 * 1024;
      systemd = "M";
      postgres = "MB";
    };
    g = {
      factor = 1024 * 1024 * 1024;
      systemd = "G";
      postgres = "GB";
    };
    t = {
      factor = 1024 * 1024 * 1024 * 1024;
      systemd = "T";
      postgres = "TB";
    };
  };
  lower = builtins.replaceStrings [ "K" "M" "G" "T" "I" "B" ] [ "k" "m" "g" "t" "i" "b" ];
  parts = spelling: builtins.match "([0-9]+) *([kmgt]?)(i?b)?" (lower spelling);

  # In the largest unit that needs no fraction.
  written =
    reader: amount:
    let
      fitting = builtins.filter (unit: amount / unit.factor * unit.factor == amount) [
        units.t
        units.g
        units.m
        units.k
      ];
      unit = builtins.head fitting;
    in
    if amount == 0 || fitting == [ ] then
      toString amount
    else
      "${toString (amount / unit.factor)}${unit.${reader}}";
in
rec {
  # Whether a string is an amount of memory.
  valid = spelling: parts spelling != null;

  # "2gb" -> 2147483648
  bytes =
    spelling:
    let
      found = parts spelling;
      unit = builtins.elemAt found 1;
    in
    if found == null then
      throw "fileintel: ${spelling} is no size such as 512M, 20G or 2gb"
    else
      builtins.fromJSON (builtins.head found) * (units.${unit}.factor or 1);

  # For systemd, which knows 20G and neither 20GB nor 20g.
  systemd = spelling: written "systemd" (bytes spelling);

  # For Postgres, which knows 2GB and no 2G.
  postgres = spelling: written "postgres" (bytes spelling);
}
