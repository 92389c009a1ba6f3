# The checks of the flake. The two VM tests boot a machine and start a VM in it.
{
  self,
  pkgs,
  home-manager,
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  packages = self.packages.${system};

  # Values of the options settings and vms, for both modules.
  example = import ./vms.nix;

  # Evaluates a Home Manager configuration of the user alice with programs.claude-vm.
  homeWith =
    module:
    (home-manager.lib.homeManagerConfiguration {
      inherit pkgs;
      modules = [
        self.homeModules.default
        {
          home = {
            username = "alice";
            homeDirectory = "/home/alice";
            stateVersion = lib.trivial.release;
          };
          programs.claude-vm.enable = true;
        }
        module
      ];
    }).config;

  nixosWith =
    module:
    (pkgs.nixos {
      imports = [
        self.nixosModules.default
        module
      ];
      boot.isContainer = true;
      system.stateVersion = lib.trivial.release;
      programs.claude-vm.enable = true;
    }).config;

  home = homeWith { programs.claude-vm = example; };
  machine = nixosWith {
    programs.claude-vm = example // {
      users = [ "alice" ];
      linger = [ "alice" ];
    };
    users.users.alice.isNormalUser = true;
  };

  same =
    name: expected: got:
    pkgs.runCommandLocal name { } ''
      diff -r --no-dereference ${expected} ${got}
      touch $out
    '';
in
{
  inherit (packages) claude-vm guest;

  format =
    pkgs.runCommandLocal "format"
      {
        nativeBuildInputs = [
          pkgs.nixfmt
          pkgs.statix
          pkgs.deadnix
        ];
        src = lib.fileset.toSource {
          root = ../..;
          fileset = lib.fileset.unions [
            ../../flake.nix
            (lib.fileset.fileFilter (file: file.hasExt "nix") ../.)
          ];
        };
      }
      ''
        find $src -name '*.nix' -exec nixfmt --check {} +
        statix check $src
        deadnix --fail $src
        touch $out
      '';

  # The files and units that Home Manager installs. On machines without Nix, scripts/test
  # checks that the generator writes the same units.
  home-manager-files = same "home-manager-files" ./expected/files (
    pkgs.runCommandLocal "files" { } ''
      cp -rL ${home.home-files}/.config/claude-vm $out
    ''
  );
  home-manager-units = same "home-manager-units" ./expected/units (
    pkgs.runCommandLocal "units" { } ''
      cp -rH --no-dereference ${home.xdg.configFile.claude-vm-units.source} $out
    ''
  );

  nixos-module = pkgs.runCommandLocal "nixos-module" { } ''
    diff -r ${./expected/files} ${machine.environment.etc."claude-vm/user".source}
    generators=${machine.environment.etc."systemd/user-generators".source}
    [ $generators/claude-vm-generator -ef ${packages.claude-vm}/bin/claude-vm-generator ]
    units=${machine.environment.etc."systemd/user".source}
    [ $units/claude-vm@.service -ef ${packages.claude-vm}/lib/systemd/user/claude-vm@.service ]
    ${lib.optionalString (
      !(
        machine.users.users.alice.linger
        && lib.elem "kvm" machine.users.users.alice.extraGroups
      )
    ) "echo 'alice does not linger or is not in the kvm group' >&2; exit 1"}
    touch $out
  '';

  # An error in a file fails the build, and the message contains the line number.
  guard =
    let
      faulty = homeWith {
        programs.claude-vm.vms.web.VM = {
          WorkDirectory = "%h/web";
          Memroy = "8G";
        };
      };
      failed = pkgs.testers.testBuildFailure faulty.xdg.configFile.claude-vm-units.source;
    in
    pkgs.runCommandLocal "guard" { } ''
      cd ${failed}
      grep -F '/home/alice/.config/claude-vm/web.vm:2: unknown key Memroy= in [VM]' testBuildFailure.log
      grep -F 'did you mean Memory=?' testBuildFailure.log
      touch $out
    '';

  # A name that is no file name is an error, not a VM that is missing.
  names =
    let
      faulty = nixosWith { programs.claude-vm.vms."a/b".VM.WorkDirectory = "%h/web"; };
      messages = map (a: a.message) (lib.filter (a: !a.assertion) faulty.assertions);
      want = [
        "programs.claude-vm.vms: \"a/b\": a name must not be empty, start with a period, or contain a slash"
      ];
    in
    assert lib.assertMsg (messages == want) "assertions: ${toString messages}";
    pkgs.runCommandLocal "names" { } "touch $out";

  # What a boot needs or Claude finds, as far as the text of the configuration shows it.
  guest-settings =
    let
      inherit (self.packages.${system}.guest.nixos) config;
      closure = config.boot.initrd.systemd.services.initrd-find-nixos-closure;
      path = lib.splitString ":" config.systemd.services.claude-vm-agent.environment.PATH;
      has = list: words: lib.all (word: lib.elem word list) words;
    in
    assert has closure.before [
      "initrd.target"
      "initrd-nixos-activation.service"
    ];
    assert config.claude-vm.guest.minimalInitrd;
    # Only the initrd of NixOS can mount the overlay of /etc.
    assert
      !(self.lib.mkGuest {
        inherit system;
        modules = [ { system.etc.overlay.enable = true; } ];
      }).nixos.config.claude-vm.guest.minimalInitrd;
    assert has path [
      "/etc/profiles/per-user/claude/bin"
      "/home/claude/.local/state/nix/profile/bin"
      "/run/current-system/sw/bin"
    ];
    assert config.programs.nix-ld.enable;
    assert !config.security.pam.services.su.forwardXAuth;
    assert config.boot.kernel.sysctl."fs.protected_symlinks" == 1;
    pkgs.runCommandLocal "guest-settings" { } "touch $out";

  # A guest for one VM, from a NixOS module, becomes the key Guest= of its file.
  guest-of-vm =
    let
      file =
        guest:
        (nixosWith {
          programs.claude-vm.vms.web = {
            VM.WorkDirectory = "/srv/web";
            inherit guest;
          };
        }).programs.claude-vm.files;
      built = self.lib.mkGuest {
        inherit system;
        modules = [ module ];
      };
      module = {
        claude-vm.guest.claude.memory = "Run the tests.";
      };
      memory = built.nixos.config.claude-vm.guest.files."/home/claude/.claude/CLAUDE.md";
    in
    assert memory.text == "Run the tests.";
    assert file module == file built;
    pkgs.runCommandLocal "guest-of-vm" {
      files = builtins.unsafeDiscardStringContext (file module).drvPath;
    } "touch $out";

  # A guest of the caller's nixpkgs, with its overlays and its configuration.
  guest-pkgs =
    let
      callers = import pkgs.path {
        inherit system;
        config.allowUnfree = true;
        overlays = [
          (_: prev: { jq = prev.jq.overrideAttrs { pname = "jq-of-the-caller"; }; })
        ];
      };
      guest = self.lib.mkGuest { pkgs = callers; };
    in
    assert lib.elem callers.jq guest.nixos.config.environment.systemPackages;
    pkgs.runCommandLocal "guest-pkgs" {
      guest = builtins.unsafeDiscardStringContext guest.drvPath;
    } "touch $out";

  # The guest has the units of guest/overlay, as the Debian guest does.
  guest-units =
    let
      units = self.packages.${system}.guest.nixos.config.environment.etc."systemd/system".source;
    in
    pkgs.runCommandLocal "guest-units" { } ''
      cd ${../../guest/overlay/usr/lib/systemd/system}
      for unit in *; do
        diff $unit ${units}/$unit
      done
      [ "$(readlink ${units}/default.target)" = claude-vm.target ]
      for unit in $(grep -v '^#' ${../../guest/masked-units}); do
        [ "$(readlink -f ${units}/$unit)" = /dev/null ] || { echo "$unit is not masked" >&2; exit 1; }
      done
      touch $out
    '';

  options-document = same "options-document" ../../docs/nix-options.md (
    pkgs.writeText "nix-options.md" self.lib.optionsDocument
  );

  vm-nixos = pkgs.testers.runNixOSTest (import ./vm-nixos.nix self);
  vm-home-manager = pkgs.testers.runNixOSTest (
    import ./vm-home-manager.nix { inherit self home-manager; }
  );
}
