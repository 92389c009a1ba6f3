# The NixOS guest. microvm.nix makes the kernel, the initrd and the disk with the
# store; claude-vm@.service runs QEMU in place of its runner. What that would say
# otherwise, and why:
#
#   -M microvm, virtio-*-device    q35 and PCI: microvm hangs without KVM, has no ACPI
#                                  power button that works and cannot hot-plug
#   -enable-kvm -cpu host,…        accel=kvm:tcg and max, which with KVM is host: a VM
#                                  is slow, not impossible, without KVM
#   -device i8042                  none: its Ctrl-Alt-Del is the power button here
#   -append earlyprintk= reboot=t  the first says all twice, the second is for a
#                                  machine that cannot be reset; console= and panic=-1
#                                  are here and in guest/cmdline
#   -drive if=none,aio=io_uring    -blockdev, of which that is the old form; io_uring is
#                                  no system call that the unit permits, and the disk is
#                                  in the host's page cache
#   -nographic                     -display none: the serial console is a chardev already
#   -sandbox on                    the same and stricter
#   -m -smp -name -qmp             the unit's, by its variables
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;
  inherit (pkgs.stdenv.hostPlatform) linux-kernel isAarch64;

  # Words of a file in which lines that begin with # are comments.
  wordsOf =
    file:
    lib.concatMap (line: lib.filter (word: word != "") (lib.splitString " " line)) (
      lib.filter (line: !lib.hasPrefix "#" line) (lib.splitString "\n" (lib.readFile file))
    );

  # By the path alone: what is in the disk must not be needed by the host as well.
  append = builtins.unsafeDiscardStringContext (
    toString (
      config.microvm.kernelParams
      # The last of a name counts.
      ++ [ "console=${if isAarch64 then "ttyAMA0" else "ttyS0"}" ]
      ++ wordsOf ../guest/cmdline
    )
  );
  contract = lib.head (
    builtins.match ".*\nconst Version = ([0-9]+)\n.*" (
      lib.readFile ../internal/contract/contract.go
    )
  );
  claude = lib.getVersion pkgs.claude-code;

  # The files of claude-vm.guest.files as systemd-tmpfiles copies them. What is in
  # the home is the user's, and so are the directories that it is in.
  inHome = lib.hasPrefix "/home/claude/";
  parents =
    path:
    let
      dir = dirOf path;
    in
    lib.optionals (inHome dir) (parents dir ++ [ dir ]);
  tmpfiles =
    lib.genAttrs (lib.unique (lib.concatMap parents (lib.attrNames cfg.files))) (_: {
      d = {
        user = "claude";
        group = "claude";
      };
    })
    // lib.mapAttrs (path: file: {
      "C+" = {
        argument = toString file.source;
        mode = if file.executable then "0755" else "0644";
      }
      // lib.optionalAttrs (inHome path) {
        user = "claude";
        group = "claude";
      };
    }) cfg.files;
in
{
  imports = [ "${modulesPath}/profiles/minimal.nix" ];

  options.claude-vm.guest = {
    package = lib.mkOption {
      type = lib.types.package;
      internal = true;
      description = "The agent and what else is the same in every guest.";
    };

    bundle = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      internal = true;
      description = "The guest bundle.";
    };

    extraPackages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.nodejs pkgs.go ]";
      description = "Packages on Claude's {env}`PATH`, and on that of all shells in the guest.";
    };

    files = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule (
          { name, config, ... }:
          {
            options = {
              text = lib.mkOption {
                type = lib.types.nullOr lib.types.lines;
                default = null;
                description = "What is in the file.";
              };
              source = lib.mkOption {
                type = lib.types.path;
                description = "The file, or a directory, that is copied. Everything in it can be read in every VM: no secrets.";
              };
              executable = lib.mkOption {
                type = lib.types.bool;
                default = false;
                description = "Whether it can be executed.";
              };
            };
            config.source = lib.mkIf (config.text != null) (
              lib.mkDefault (pkgs.writeText (baseNameOf name) config.text)
            );
          }
        )
      );
      default = { };
      example = lib.literalExpression ''
        {
          "/home/claude/.config/git/config".text = "[user]\n\tname = Claude\n";
        }
      '';
      description = ''
        Files of the guest by their absolute paths. Those below {file}`/home/claude`
        belong to Claude, others to root. They are copies: what changes them in a VM is
        gone with it.
      '';
    };

    devShell = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      example = lib.literalExpression "self.devShells.x86_64-linux.default";
      description = ''
        A shell of {command}`nix develop`, such as a project's own, whose variables,
        {env}`PATH` among them, Claude and all shells in the guest have. Its
        `shellHook` is not run.
      '';
    };

    writableStore = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether {command}`nix` works in the guest. What it builds is in the VM's
        memory, and gone with it.
      '';
    };
  };

  config = {
    microvm = {
      hypervisor = "qemu";
      # The host's store is not the guest's to see.
      shares = [ ];
      storeOnDisk = true;
      # Of use to nix alone.
      registerClosure = cfg.writableStore;
      writableStoreOverlay = lib.mkIf cfg.writableStore "/nix/.rw-store";
      # One for all guests would make all VMs the same machine. The agent sets it.
      machineId = null;
    };
    fileSystems."/nix/.rw-store" = lib.mkIf cfg.writableStore {
      device = "rw-store";
      fsType = "tmpfs";
      options = [
        "mode=0755"
        "size=80%"
      ];
      neededForBoot = true;
    };

    boot.initrd = {
      # The same as in the Debian guest, for the same reasons, and what its kernel has
      # built in: the agent looks for its ports once.
      kernelModules =
        wordsOf ../guest/initrd/modules
        ++ [ "virtio_console" ]
        # Where there is no ACPI, the power button is a key.
        ++ lib.optional isAarch64 "gpio_keys";
      includeDefaultModules = false;
    };
    networking.usePredictableInterfaceNames = false;

    # The overlay's files, unchanged, and what NixOS has elsewhere than they expect.
    systemd = {
      packages = [ cfg.package ];
      defaultUnit = "claude-vm.target";
      enableEmergencyMode = false;
      services = {
        claude-vm-agent = {
          overrideStrategy = "asDropin";
          environment.PATH = lib.mkForce (
            lib.concatStringsSep ":" [
              "/home/claude/.local/bin"
              "/run/wrappers/bin"
              "/run/current-system/sw/bin"
            ]
          );
        };
        claude-vm-network = {
          overrideStrategy = "asDropin";
          # Which make the path of its program.
          after = [ "systemd-tmpfiles-setup.service" ];
          path = [ pkgs.busybox ];
        };
      };
      tmpfiles.settings.claude-vm = {
        "/usr/lib/claude-vm"."L+".argument = "${cfg.package}/lib/claude-vm";
        "/usr/lib/openssh/sftp-server"."L+".argument = "${pkgs.openssh}/libexec/sftp-server";
        "/bin/bash"."L+".argument = lib.getExe pkgs.bashInteractive;
      }
      // tmpfiles;
    };
    environment.etc = {
      "systemd/journald.conf.d/50-claude-vm.conf".source =
        "${cfg.package}/etc/systemd/journald.conf.d/50-claude-vm.conf";
      "systemd/system.conf.d/50-claude-vm.conf".source =
        "${cfg.package}/etc/systemd/system.conf.d/50-claude-vm.conf";
      "resolv.conf".source = ../guest/debian/rootfs/etc/resolv.conf;
      # As in the Debian guest: a system without one would be set up anew. The agent
      # writes these three, so they are files, not links.
      machine-id = {
        source = ../guest/debian/rootfs/etc/machine-id;
        mode = "0444";
      };
      hostname.mode = "0644";
      hosts.mode = "0644";
      environment = lib.mkIf (cfg.devShell != null) {
        source = import ./dev-shell.nix { shell = cfg.devShell; };
      };
    };

    users = {
      mutableUsers = false;
      allowNoPasswordLogin = true;
      users.claude = {
        isNormalUser = true;
        uid = 1000;
        group = "claude";
        shell = pkgs.bashInteractive;
      };
      groups.claude.gid = 1000;
    };

    # As guest/debian/packages has them; NixOS brings the rest by itself.
    environment.systemPackages =
      with pkgs;
      [
        claude-code
        file
        git
        gnumake
        jq
        less
        patch
        psmisc
        python3
        ripgrep
        rsync
        unzip
        vim
        zip
      ]
      ++ cfg.extraPackages;
    nixpkgs.config.allowUnfreePredicate = lib.mkDefault (
      package: lib.getName package == "claude-code"
    );

    # Nothing of it is for a machine that one program runs on.
    networking = {
      hostName = "claude-vm";
      useDHCP = false;
      useNetworkd = false;
      resolvconf.enable = false;
      # What is published is published on purpose, and nothing else reaches the guest.
      firewall.enable = false;
    };
    i18n = {
      defaultLocale = "C.UTF-8";
      supportedLocales = [ "C.UTF-8/UTF-8" ];
    };
    boot.bcache.enable = false;
    console.enable = false;
    fonts.fontconfig.enable = false;
    programs.nano.enable = false;
    security.sudo.enable = false;
    services = {
      lvm.enable = false;
      nscd.enable = false;
      # The agent keeps the clock.
      timesyncd.enable = false;
    };
    system.nssModules = lib.mkForce [ ];
    systemd.coredump.enable = false;
    systemd.oomd.enable = false;
    nix = {
      enable = cfg.writableStore;
      settings.experimental-features = [
        "nix-command"
        "flakes"
      ];
    };
    # Nothing outlives the guest.
    system.stateVersion = lib.mkDefault lib.trivial.release;

    claude-vm.guest.bundle =
      pkgs.runCommandLocal "claude-vm-guest"
        {
          environment = ''
            GUEST_FORMAT=1
            GUEST_CONTRACT=${contract}
            GUEST_VERSION="nixos-${lib.trivial.release} claude-${claude}"
            GUEST_APPEND="${append}"
          '';
          passAsFile = [ "environment" ];
          # The kernel's output has more than the image.
          kernel = "${config.microvm.kernel.out}/${linux-kernel.target}";
          initrd = config.microvm.initrdPath;
          inherit (config.microvm) storeDisk;
        }
        ''
          mkdir $out
          cp "$kernel" $out/kernel
          ln -s "$initrd" $out/initrd
          ln -s "$storeDisk" $out/root.erofs
          cp "$environmentPath" $out/guest.env
        '';
  };
}
