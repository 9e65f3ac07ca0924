# The attributes of a set for which keep, given name and value, is true: lib.filterAttrs where there is no lib.
keep: set: removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set))
