# Amounts of memory, in the spellings of fileintel/settings.py (20G, 2gb, 512MB; powers of 1024), for those who read
# other ones. Builtins only.
let
  factor = {
    k = 1024;
    m = 1024 * 1024;
    g = 1024 * 1024 * 1024;
    t = 1024 * 1024 * 1024 * 1024;
  };
  lower = builtins.replaceStrings [ "K" "M" "G" "T" "I" "B" ] [ "k" "m" "g" "t" "i" "b" ];
  parts = spelling: builtins.match "([0-9]+) *([kmgt]?)(i?b)?" (lower spelling);

  # In the largest unit that needs no fraction.
  written =
    amount: names:
    let
      fitting = builtins.filter (unit: amount / factor.${unit} * factor.${unit} == amount) [
        "t"
        "g"
        "m"
        "k"
      ];
      unit = builtins.head fitting;
    in
    if amount == 0 || fitting == [ ] then
      toString amount
    else
      "${toString (amount / factor.${unit})}${names.${unit}}";
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
      builtins.fromJSON (builtins.head found) * (factor.${unit} or 1);

  # For systemd, which knows 20G and neither 20GB nor 20g.
  systemd =
    spelling:
    written (bytes spelling) {
      k = "K";
      m = "M";
      g = "G";
      t = "T";
    };

  # For Postgres, which knows 2GB and no 2G.
  postgres =
    spelling:
    written (bytes spelling) {
      k = "kB";
      m = "MB";
      g = "GB";
      t = "TB";
    };
}
