{
  description = "Claude Code in a throw-away NixOS microVM, run by systemd's user manager";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    microvm = {
      url = "github:microvm-nix/microvm.nix";
      inputs.nixpkgs.follows = "nixpkgs";
      # Only needed for graphics, which the guest does not use.
      inputs.spectrum.follows = "";
    };
    # Only used by the checks. The module uses the Home Manager that imports it.
    home-manager = {
      url = "github:nix-community/home-manager";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      microvm,
      home-manager,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      version = self.shortRev or self.dirtyShortRev or "devel";
      mkGuest =
        {
          # A nixpkgs with the caller's overlays and configuration, which must permit the
          # unfree package claude-code. By default, the nixpkgs of this flake.
          pkgs ? null,
          # Flakes are evaluated without builtins.currentSystem.
          system ? if pkgs == null then "x86_64-linux" else pkgs.stdenv.hostPlatform.system,
          modules ? [ ],
          extraPackages ? [ ],
        }:
        let
          # The NixOS of the same nixpkgs.
          nixosSystem =
            if pkgs == null then
              lib.nixosSystem
            else
              args: import (pkgs.path + "/nixos/lib/eval-config.nix") (args // { system = null; });
          nixos = nixosSystem {
            modules = [
              self.nixosModules.guest
              {
                nixpkgs = if pkgs == null then { hostPlatform = system; } else { inherit pkgs; };
                claude-vm.guest = { inherit extraPackages; };
              }
            ]
            ++ modules;
          };
        in
        nixos.config.claude-vm.guest.bundle // { inherit nixos; };
      # The key makes the module system ignore a second import of the same module.
      module = name: file: {
        _file = file;
        key = "claude-vm#${name}";
        imports = [ (lib.modules.importApply file self) ];
      };
      packagesFor =
        pkgs:
        pkgs.callPackage ./nix/packages.nix {
          inherit version;
          guest = mkGuest { inherit (pkgs.stdenv.hostPlatform) system; };
          tests = self.checks.${pkgs.stdenv.hostPlatform.system};
        };
    in
    {
      lib = {
        inherit mkGuest;
        # The text of docs/nix-options.md.
        optionsDocument = import ./nix/checks/document.nix {
          inherit self home-manager;
          pkgs = nixpkgs.legacyPackages.x86_64-linux;
        };
      };

      packages = forAllSystems (
        pkgs:
        let
          packages = packagesFor pkgs;
        in
        {
          inherit (packages)
            claude-vm
            guest
            vm
            claude-run
            ;
          default = packages.claude-vm;
        }
      );

      apps = forAllSystems (
        pkgs:
        let
          inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) claude-vm;
        in
        {
          default = self.apps.${pkgs.stdenv.hostPlatform.system}.claude-run;
          claude-run = {
            type = "app";
            program = "${claude-vm}/bin/claude-run";
            meta.description = "Run Claude Code in a VM on $WORK_DIR, by default the current directory";
          };
          claude-vm-ctl = {
            type = "app";
            program = "${claude-vm}/bin/claude-vm-ctl";
            meta.description = "Control virtual machines that run Claude Code";
          };
        }
      );

      overlays.default = final: _: {
        inherit (packagesFor final) claude-vm;
        claude-vm-guest = mkGuest { inherit (final.stdenv.hostPlatform) system; };
      };

      nixosModules = {
        default = module "nixos" ./nix/nixos.nix;
        guest.imports = [
          microvm.nixosModules.microvm
          ./nix/guest
        ];
      };
      homeModules.default = module "home-manager" ./nix/home-manager.nix;
      # The old name of homeModules.
      homeManagerModules = self.homeModules;

      nixosConfigurations.guest = (mkGuest { }).nixos;

      templates.default = {
        path = ./nix/template;
        description = "A project with a guest that has the tools of its development shell";
      };

      # The answer to "nix run" on macOS. "nix flake check" does not evaluate this output.
      legacyPackages = lib.genAttrs [ "aarch64-darwin" "x86_64-darwin" ] (_: {
        default = throw "claude-vm needs Linux with systemd: it is run by systemd's user manager";
      });

      devShells = forAllSystems (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      formatter = forAllSystems (pkgs: pkgs.nixfmt-tree);

      checks = forAllSystems (pkgs: import ./nix/checks { inherit self pkgs home-manager; });
    };
}
