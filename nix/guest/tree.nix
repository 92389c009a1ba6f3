# guest/overlay and the agent as a package: the same files as in the Debian guest, at the
# paths that systemd.packages and environment.etc need. The output "initrd" is guest/initrd.
{
  runCommandLocal,
  agent,
}:
runCommandLocal "claude-vm-guest-tree"
  {
    inherit (agent) meta;
    outputs = [
      "out"
      "initrd"
    ];
  }
  ''
    cp -rT --no-preserve=mode ${../../guest/overlay}/usr $out
    cp -r --no-preserve=mode ${../../guest/overlay}/etc $out
    # The link default.target, which systemd.defaultUnit creates on NixOS.
    rm -r $out/etc/systemd/system
    chmod +x $out/lib/claude-vm/*
    install ${agent}/bin/agent -t $out/lib/claude-vm
    install -D ${agent}/bin/initrd $initrd/init
  ''
