# The packages of the flake, for one guest bundle.
{
  lib,
  callPackage,
  runCommand,
  version,
  guest,
  # The checks of the flake.
  tests,
}:
let
  programs = callPackage ./programs.nix { inherit version; };
  claude-vm = lib.makeOverridable (
    args: callPackage ./claude-vm.nix ({ programs = programs.host; } // args)
  ) { inherit guest tests; };

  # Packages that contain only the commands that claude-microvm, the predecessor of this
  # project, had.
  command =
    name: names:
    runCommand "${name}-${version}"
      {
        meta = claude-vm.meta // {
          mainProgram = lib.head names;
        };
      }
      ''
        mkdir -p $out/bin
        for name in ${toString names}; do
          ln -s ${claude-vm}/bin/claude-run "$out/bin/$name"
        done
      '';
in
{
  inherit claude-vm guest;
  claude-run = command "claude-run" [ "claude-run" ];
  vm = command "claude-vm-run" [
    "microvm-run"
    "claude-run"
  ];
}
