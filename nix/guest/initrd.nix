# An initrd with guest/initrd, which also starts the Debian guest, in place of systemd and udev.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.claude-vm.guest;
  inherit (config.boot.kernelPackages.kernel) modDirVersion;

  # Except those of microvm.nix for other hypervisors and for shares.
  modules = lib.subtractLists [
    "9p"
    "9pnet_virtio"
    "virtio_mmio"
  ] (lib.unique config.boot.initrd.kernelModules);

  # Both are in an order in which they can be mounted: the first by what they depend on, the
  # second by name.
  fileSystems =
    lib.filter utils.fsNeededForBoot config.system.build.fileSystems
    ++ lib.attrValues config.boot.specialFileSystems;
  field = lib.replaceStrings [ " " "\t" ] [ "\\040" "\\011" ];
  table = pkgs.writeText "fstab" (
    lib.concatMapStrings (fs: ''
      ${field fs.device} ${field fs.mountPoint} ${fs.fsType} ${field (lib.concatStringsSep "," fs.options)}
    '') fileSystems
  );

  initrd =
    pkgs.runCommand "initrd"
      {
        nativeBuildInputs = with pkgs.buildPackages; [
          cpio
          kmod
          xz
          zstd
        ];
      }
      ''
        mkdir -p root/modules $out
        cp ${cfg.package.initrd}/init root/init
        cp ${table} root/fstab

        for module in ${toString modules}; do
          modprobe --config no-config -d ${config.system.modulesTree} -S ${modDirVersion} \
            --show-depends "$module"
        done >list
        # In the order in which they have to be loaded, not compressed.
        number=100
        for file in $(awk '$1 == "insmod" && !seen[$2]++ { print $2 }' list); do
          name=root/modules/$number-$(basename "$file")
          case $file in
          *.gz) gzip -dc "$file" >"''${name%.gz}" ;;
          *.xz) xz -dc "$file" >"''${name%.xz}" ;;
          *.zst) zstd -dc "$file" >"''${name%.zst}" ;;
          *) cp "$file" "$name" ;;
          esac
          number=$((number + 1))
        done

        cd root
        find . -exec touch -h -d @1 '{}' +
        find . -print0 | sort -z |
          cpio --quiet -o -H newc -R +0:+0 --reproducible --null >$out/initrd
      '';
in
{
  options.claude-vm.guest.minimalInitrd = lib.mkOption {
    type = lib.types.bool;
    default = !(config.system.etc.overlay.enable || config.system.nixos-init.enable or false);
    defaultText = lib.literalExpression "!(config.system.etc.overlay.enable || config.system.nixos-init.enable)";
    description = ''
      Whether to start the guest with the initrd of the Debian guest, which takes one second
      without KVM, where that of NixOS takes eight. It loads `boot.initrd.kernelModules`, mounts
      the file systems that are needed for boot and activates the system; other options of
      `boot.initrd` have no effect.
    '';
  };

  config = lib.mkIf cfg.minimalInitrd {
    system.build.initialRamdisk = lib.mkForce initrd;
    # The initrd has mounted them.
    system.activationScripts.specialfs = lib.mkForce "";
  };
}
