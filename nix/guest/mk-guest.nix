# mkGuest { system, modules, extraPackages }: a guest bundle, as guest/README.md has
# it, of a NixOS with these modules on top. What NixOS made of them is in its
# attribute nixos.
{
  nixpkgs,
  microvm,
  version,
}:
{
  # A flake does not know on what it is evaluated.
  system ? "x86_64-linux",
  modules ? [ ],
  extraPackages ? [ ],
}:
let
  nixos = nixpkgs.lib.nixosSystem {
    modules = [
      microvm.nixosModules.microvm
      ./.
      (
        { pkgs, ... }:
        {
          nixpkgs.hostPlatform = system;
          claude-vm.guest = {
            package = pkgs.callPackage ./tree.nix {
              inherit (pkgs.callPackage ../programs.nix { inherit version; }) agent;
            };
            inherit extraPackages;
          };
        }
      )
    ]
    ++ modules;
  };
in
nixos.config.claude-vm.guest.bundle // { inherit nixos; }
