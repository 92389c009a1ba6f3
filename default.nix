# The outputs of the flake for Nix without flakes: (import ./. { }).packages.x86_64-linux.default.
# The inputs are those of flake.lock, or the ones given.
{
  sources ? { },
}:
let
  lock = builtins.fromJSON (builtins.readFile ./flake.lock);
  fetch =
    name:
    let
      inherit (lock.nodes.${lock.nodes.root.inputs.${name}}) locked;
    in
    fetchTarball {
      url = "https://github.com/${locked.owner}/${locked.repo}/archive/${locked.rev}.tar.gz";
      sha256 = locked.narHash;
    };
  # The outputs of the flake in a directory.
  flake =
    dir: inputs:
    let
      outputs = (import (dir + "/flake.nix")).outputs (inputs // { inherit self; });
      self = outputs // {
        inherit inputs outputs;
        outPath = dir;
        _type = "flake";
      };
    in
    self;
  source = name: sources.${name} or (fetch name);
  nixpkgs = flake (source "nixpkgs") { };
in
flake ./. {
  inherit nixpkgs;
  microvm = flake (source "microvm") {
    inherit nixpkgs;
    spectrum = throw "only for graphics";
  };
  home-manager = flake (source "home-manager") { inherit nixpkgs; };
}
