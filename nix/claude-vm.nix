# The claude-vm package: what "make install" installs (programs, units, generator, man
# pages and shell completions), set up for one guest bundle, QEMU and virtiofsd.
{
  lib,
  stdenvNoCC,
  scdoc,
  # The QEMU that NixOS tests use: no GUI and only one architecture. Unlike an override
  # of qemu, it is in the binary cache.
  qemu_test,
  util-linux,
  virtiofsd,
  programs,
  guest,
  tests,
}:
let
  inherit (lib) fileset;
  inherit (stdenvNoCC.hostPlatform) qemuArch;
in
stdenvNoCC.mkDerivation {
  pname = "claude-vm";
  inherit (programs) version;

  src = fileset.toSource {
    root = ../.;
    fileset = fileset.unions [
      ../Makefile
      ../completion
      ../docs/man
      ../scripts/claude-run
      ../scripts/install
      ../units
      # Prerequisites of the programs in the Makefile. Their timestamps are older than
      # those of the programs below, so make does not build the programs again.
      ../cmd
      ../go.mod
      ../go.sum
      ../guest/agent
      ../guest/initrd
      ../internal
      ../templates
    ];
  };

  nativeBuildInputs = [ scdoc ];

  buildPhase = ''
    runHook preBuild
    install -Dt build ${programs}/bin/*
    runHook postBuild
  '';

  makeFlags = [
    "PREFIX=${placeholder "out"}"
    "GUEST=none"
    "GUESTDIR=${guest}"
    "ARCH=${qemuArch}"
    "QEMU=${qemu_test}/bin/qemu-system-${qemuArch}"
    "VIRTIOFSD=${virtiofsd}/bin/virtiofsd"
    "UTILS=${util-linux}/bin/"
  ];

  # Keep #!/bin/sh, which exists on NixOS. An interpreter in the store would not make
  # the scripts more reproducible.
  dontPatchShebangs = true;

  passthru = {
    inherit guest programs;
    # The checks of the flake, for those who build the package with their own nixpkgs.
    tests = { inherit (tests) vm-nixos vm-home-manager guest-units; };
  };

  meta = programs.meta // {
    description = "Claude Code in a throw-away microVM, run by systemd's user manager";
    mainProgram = "claude-vm-ctl";
  };
}
