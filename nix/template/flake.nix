{
  description = "A project on which Claude Code works in a VM";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    claude-vm.url = "github:t0mpr1c3/claude-microvm";
  };

  outputs =
    { nixpkgs, claude-vm, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      # The tools of the project, for you and for Claude.
      devShell = pkgs.mkShell { packages = [ pkgs.hello ]; };
    in
    {
      devShells.${system}.default = devShell;

      # nix build .#claude-vm-guest --out-link guest
      # nix run github:t0mpr1c3/claude-microvm#claude-vm-ctl -- run --set Guest="$PWD/guest" .
      packages.${system}.claude-vm-guest = claude-vm.lib.mkGuest {
        inherit system;
        modules = [ { claude-vm.guest = { inherit devShell; }; } ];
      };
    };
}
