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
#   -drive if=none,aio=io_uring    -blockdev, of which that is the old form; a disk that
#                                  is in the host's page cache gains nothing by it
#   -nographic                     -display none: the serial console is a chardev already
#   -sandbox on                    the same and stricter
#   -m -smp -name -qmp             the unit's, by its variables
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;
  inherit (pkgs.stdenv.hostPlatform) isAarch64;

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
      ++ wordsOf ../../guest/cmdline
    )
  );
  contract = lib.trim (lib.readFile ../../internal/contract/version);
  claude = lib.getVersion pkgs.claude-code;
in
{
  imports = [
    ./options.nix
    ./minimal.nix
  ];

  config = {
    microvm = {
      hypervisor = "qemu";
      # The host's store is not the guest's to see.
      shares = [ ];
      storeOnDisk = true;
      # One for all guests would make all VMs the same machine. The agent sets it.
      machineId = null;
    };
    # What guest/cmdline says, which systemd-sysctl would take back.
    boot.consoleLogLevel = 6;
    # No prompt that nobody sees: QEMU ends with the panic.
    boot.kernelParams = [ "boot.panic_on_fail" ];
    boot.initrd = {
      # The same as in the Debian guest, for the same reasons, and what its kernel has
      # built in: the agent looks for its ports once.
      kernelModules =
        wordsOf ../../guest/initrd/modules
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
      };
    };
    environment.etc = {
      "systemd/journald.conf.d/50-claude-vm.conf".source =
        "${cfg.package}/etc/systemd/journald.conf.d/50-claude-vm.conf";
      "systemd/system.conf.d/50-claude-vm.conf".source =
        "${cfg.package}/etc/systemd/system.conf.d/50-claude-vm.conf";
      "resolv.conf".source = "${cfg.package}/etc/resolv.conf";
      # The agent writes these three, so they are files, not links.
      machine-id = {
        source = "${cfg.package}/etc/machine-id";
        mode = "0444";
      };
      hostname.mode = "0644";
      hosts.mode = "0644";
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
    environment.systemPackages = with pkgs; [
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
    ];
    nixpkgs.config.allowUnfreePredicate = lib.mkDefault (p: lib.getName p == "claude-code");

    environment.variables.EDITOR = lib.mkOverride 900 "vim";
    environment.localBinInPath = true;
    networking.hostName = "claude-vm";
    # Nothing outlives the guest.
    system.stateVersion = lib.mkDefault lib.trivial.release;

    claude-vm.guest.bundle =
      pkgs.runCommandLocal "claude-vm-guest"
        {
          environment = ''
            GUEST_CONTRACT=${contract}
            GUEST_VERSION="nixos-${lib.trivial.release} claude-${claude}"
            GUEST_APPEND="${append}"
          '';
          passAsFile = [ "environment" ];
          # The kernel's output has more than the image.
          kernel = "${config.microvm.kernel.out}/${config.system.boot.loader.kernelFile}";
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
