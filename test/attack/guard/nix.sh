# The guest plants files that nix develop and direnv evaluate.
# Must: the user is told of each.
# Slow.
### claude
plant flake.nix flake.lock shell.nix default.nix devenv.nix devenv.yaml .devenv/x
### host
reported flake.nix flake.lock shell.nix default.nix devenv.nix devenv.yaml .devenv
