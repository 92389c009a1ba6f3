# The NixOS guest. microvm.nix builds the kernel, the initrd and the disk with the store;
# claude-vm@.service runs QEMU instead of the runner of microvm.nix. The differences
# between the QEMU command lines of the runner (left) and the unit (right), with reasons:
#
#   -M microvm, virtio-*-device    q35 with PCI: the microvm machine hangs without KVM,
#                                  has no working ACPI power button and no hotplug
#   -enable-kvm -cpu host,…        -accel kvm -accel tcg,… and -cpu max, which is the
#                                  same as host with KVM; without KVM, the VM is slow but
#                                  starts, with a processor that is faster to emulate
#   -device i8042                  removed: the runner stops a VM with Ctrl-Alt-Del, the
#                                  unit with the ACPI power button
#   -append earlyprintk= reboot=t  removed: earlyprintk= prints messages twice, reboot=t
#                                  is for machines without another way to reset.
#                                  console= is set below, panic=-1 in guest/cmdline
#   -drive if=none,aio=io_uring    -blockdev, the newer form of -drive; io_uring does not
#                                  speed up a disk that is in the host's page cache
#   -nographic                     -display none: a chardev is the serial console
#   -sandbox on                    the same, with stricter options
#   -m -smp -name -qmp             set by variables of the unit
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.claude-vm.guest;
  inherit (pkgs.stdenv.hostPlatform) isAarch64;

  wordsOf = import ./words.nix lib;

  # kernelParams contains store paths (init=). Without discarding the string context, the
  # bundle would depend on the guest's system, which would then be installed on the host
  # in addition to the copy in the disk.
  append = builtins.unsafeDiscardStringContext (
    toString (
      config.microvm.kernelParams
      # If a parameter is repeated, the kernel uses the last one.
      ++ [ "console=${if isAarch64 then "ttyAMA0" else "ttyS0"}" ]
      ++ wordsOf ../../guest/cmdline
    )
  );
  contract = lib.trim (lib.readFile ../../internal/contract/version);
  claude = lib.getVersion cfg.claudePackage;

  # Without the references that Nix finds in the file. They would keep the programs of the
  # initrd in the host's store, in addition to the copies in it.
  initrd =
    pkgs.runCommandLocal "initrd"
      {
        __structuredAttrs = true;
        unsafeDiscardReferences.out = true;
      }
      ''
        cp ${config.microvm.initrdPath} $out
      '';
in
{
  imports = [
    ./options.nix
    ./minimal.nix
    ./boot.nix
    ./initrd.nix
  ];

  config = {
    microvm = {
      hypervisor = "qemu";
      # Do not share the host's /nix/store with the guest.
      shares = [ ];
      storeOnDisk = true;
      # A machine ID here would be the same in all VMs. The agent sets one for each VM.
      machineId = null;
    };
    # With the disk's label, the initrd would need udev to find it.
    fileSystems.${if cfg.writableStore then "/nix/.ro-store" else "/nix/store"}.device =
      lib.mkForce "/dev/vda";
    # The value of loglevel= in guest/cmdline. NixOS sets kernel.printk to this option, so
    # systemd-sysctl would otherwise override loglevel=.
    boot.consoleLogLevel = 6;
    # If NixOS's initrd fails, panic, on which QEMU exits, instead of showing a prompt on the
    # console. The second parameter shows the reason: in the initrd, journald has no
    # configuration of ours.
    boot.kernelParams = lib.mkIf (!cfg.minimalInitrd) [
      "boot.panic_on_fail"
      "systemd.journald.forward_to_console=1"
    ];
    boot.initrd = {
      # Without this order, initrd-cleanup.service can stop the service while it runs
      # (nixpkgs#357135, missing in 24.11), or the activation start before it
      # (nixpkgs#552833, of August 2026). Both make the boot fail.
      systemd.services.initrd-find-nixos-closure.before = [
        "initrd.target"
        "initrd-nixos-activation.service"
      ];
      # The modules of the Debian guest, for the reasons given in that file, and
      # virtio_console, which is built into Debian's kernel. It must be loaded in the
      # initrd, because the agent looks for its ports only once.
      kernelModules =
        wordsOf ../../guest/initrd/modules
        ++ [ "virtio_console" ]
        # Without ACPI, the power button is a GPIO key.
        ++ lib.optional isAarch64 "gpio_keys";
      includeDefaultModules = false;
    };
    networking.usePredictableInterfaceNames = false;

    # The files of guest/overlay, unchanged, and links for paths that differ on NixOS.
    systemd = {
      packages = [ cfg.package ];
      defaultUnit = "claude-vm.target";
      # Services that modules enable. The agent does not wait for them.
      targets.claude-vm = {
        overrideStrategy = "asDropin";
        wants = [ "multi-user.target" ];
      };
      # No login on the serial console, which is the journal of the host.
      targets.getty.enable = false;
      services = {
        claude-vm-agent = {
          overrideStrategy = "asDropin";
          environment.PATH = lib.mkForce (
            lib.concatStringsSep ":" [
              "/home/claude/.local/bin"
              "/run/wrappers/bin"
              "/home/claude/.nix-profile/bin"
              "/home/claude/.local/state/nix/profile/bin"
              "/etc/profiles/per-user/claude/bin"
              "/nix/var/nix/profiles/default/bin"
              "/run/current-system/sw/bin"
            ]
          );
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
      "claude-code/CLAUDE.md".source = "${cfg.package}/etc/claude-code/CLAUDE.md";
      "resolv.conf".source = "${cfg.package}/etc/resolv.conf";
      # programs.git.config replaces it.
      gitconfig.source = lib.mkDefault "${cfg.package}/etc/gitconfig";
      # The same as in the Debian guest: without /etc/machine-id, systemd would treat each
      # boot as the first one and preset all units. The agent writes these three files, so
      # mode= makes them copies instead of links to the store.
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
        extraGroups = [ "wheel" ];
        shell = pkgs.bashInteractive;
      };
      groups.claude.gid = 1000;
    };

    # The VM is what restricts Claude, not its user in it.
    security.sudo.wheelNeedsPassword = lib.mkDefault false;

    # The packages of guest/debian/packages, except those that NixOS always has.
    environment.systemPackages = with pkgs; [
      cfg.claudePackage
      e2fsprogs
      file
      git
      git-lfs
      gnumake
      jq
      less
      patch
      psmisc
      python3
      ripgrep
      rsync
      tmux
      unzip
      vim
      zip
    ];
    # A nixpkgs that the caller has configured cannot be configured again.
    nixpkgs.config = lib.mkIf (!options.nixpkgs.pkgs.isDefined) {
      allowUnfreePredicate = lib.mkDefault (p: lib.getName p == "claude-code");
    };

    environment.variables.EDITOR = lib.mkOverride 900 "vim";
    environment.localBinInPath = true;
    networking.hostName = "claude-vm";
    # This removes ::1 from localhost: published ports reach such servers only over IPv4. The
    # loopback interface keeps its IPv6 address.
    networking.enableIPv6 = false;
    boot.kernel.sysctl."net.ipv6.conf.all.disable_ipv6" = false;
    boot.kernel.sysctl."net.ipv6.conf.default.disable_ipv6" = false;
    # Services keep no state when the VM stops, so there is nothing to migrate.
    system.stateVersion = lib.mkDefault lib.trivial.release;

    claude-vm.guest.bundle =
      pkgs.runCommandLocal "claude-vm-guest"
        {
          environment = ''
            GUEST_CONTRACT=${contract}
            GUEST_VERSION="nixos-${lib.trivial.release} claude-${claude}"
            GUEST_CLAUDE=${claude}
            GUEST_APPEND="${append}"
          '';
          passAsFile = [ "environment" ];
          # Copied, not linked: a link would keep the kernel's whole output, not only the
          # image, in the closure of the bundle.
          kernel = "${config.microvm.kernel.out}/${config.system.boot.loader.kernelFile}";
          inherit initrd;
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
