# Leaves out what delays the boot of a guest, in the initrd and afterwards. Without KVM, each
# process that is started takes up to a tenth of a second. Modules can enable units again.
{
  config,
  lib,
  ...
}:
let
  masked = import ./words.nix lib ../../guest/masked-units;
  inherit (lib.partition (lib.hasSuffix ".service") (masked ++ lib.optionals cfg.minimalInitrd initrd))
    right
    wrong
    ;
  cfg = config.claude-vm.guest;

  # What guest/initrd has done: it creates the device nodes that sessions use, also those whose
  # modules are loaded when they are opened, and mounts file systems with all of their options.
  initrd = [
    "kmod-static-nodes.service"
    "systemd-remount-fs.service"
    "systemd-tmpfiles-setup-dev-early.service"
    "systemd-tmpfiles-setup-dev.service"
  ];

  # They look for disks, consoles, a TPM, or requests on the kernel command line, at each boot.
  # Not systemd-fstab-generator, which mounts fileSystems.
  generators = [
    "debug"
    "getty"
    "gpt-auto"
    "hibernate-resume"
    "run"
    "ssh"
    "system-update"
    "tpm2"
  ];
in
{
  boot.initrd.systemd = {
    suppressedStorePaths = map (
      name: "${config.boot.initrd.systemd.package}/lib/systemd/system-generators/systemd-${name}-generator"
    ) generators;
    suppressedUnits = [
      # The kernel creates all device nodes that the initrd needs.
      "kmod-static-nodes.service"
      "systemd-tmpfiles-setup-dev-early.service"
      "systemd-tmpfiles-setup-dev.service"
      # Nobody can answer.
      "systemd-ask-password-console.path"
    ];
    # Without the first of its commands, which reads an fstab that systemd has already read, and
    # makes systemd read all units again. This takes 4 s without KVM.
    services.initrd-parse-etc.serviceConfig.ExecStart = [
      ""
      "/bin/systemctl --no-block start initrd-cleanup.service"
    ];
    # Only the disk: the modules of all other devices are loaded by name. Everything else is
    # triggered again after the initrd.
    services.systemd-udev-trigger.serviceConfig.ExecStart = [
      ""
      "-/bin/udevadm trigger --action=add --subsystem-match=block"
    ];
  };

  systemd = {
    generators = lib.listToAttrs (
      map (name: lib.nameValuePair "systemd-${name}-generator" (lib.mkDefault "/dev/null")) generators
    );
    services = lib.mkMerge [
      (lib.genAttrs (map (lib.removeSuffix ".service") right) (_: {
        enable = lib.mkDefault false;
      }))
      {
        claude-vm-agent = {
          # Not after udev and all other services of sysinit.target, only after what a session
          # needs.
          unitConfig.DefaultDependencies = false;
          after = [
            "local-fs.target"
            "suid-sgid-wrappers.service"
            "systemd-modules-load.service"
            "systemd-sysctl.service"
            "systemd-tmpfiles-setup.service"
          ];
          before = [
            "shutdown.target"
            # Of multi-user.target, and not needed by a session.
            "systemd-logind.service"
            "systemd-user-sessions.service"
          ];
          conflicts = [ "shutdown.target" ];
        };
        # A session needs none of the devices that they set up, so that it does not wait for
        # them. Not ordered after the agent: a service of the user can be before the agent and
        # after sysinit.target.
        systemd-udevd.serviceConfig.Nice = lib.mkDefault 19;
        systemd-udev-trigger.serviceConfig = {
          Nice = lib.mkDefault 19;
          # The devices of the VM whose rules matter. With all others, such as each processor
          # and each terminal, it takes 25 s of CPU time without KVM.
          ExecStart = [
            ""
            "-${config.systemd.package}/bin/udevadm trigger --action=add ${
              toString (map (name: "--subsystem-match=${name}") [ "block" "input" "misc" "net" ])
            }"
          ];
        };
      }
    ];
    units = lib.genAttrs wrong (_: {
      enable = lib.mkDefault false;
    });
  };
}
