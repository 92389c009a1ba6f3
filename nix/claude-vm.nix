# Programs, units, generator, man pages and completions, as make install puts
# them, for one guest bundle, QEMU and virtiofsd.
{
  lib,
  stdenvNoCC,
  scdoc,
  qemu_test,
  virtiofsd,
  programs,
  guest,
  # The one for NixOS tests: no GUI, one architecture, and, other than an override
  # of ours, in the binary cache.
  qemu ? qemu_test,
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
    ];
  };

  nativeBuildInputs = [ scdoc ];

  # Newer than all that they are made from, so that make builds nothing.
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
    "QEMU=${qemu}/bin/qemu-system-${qemuArch}"
    "VIRTIOFSD=${virtiofsd}/bin/virtiofsd"
  ];

  # An interpreter of the store would be no more reproducible than NixOS's /bin/sh.
  dontPatchShebangs = true;

  passthru = { inherit guest programs; };

  meta = programs.meta // {
    description = "Claude Code in a throw-away microVM, owned by systemd's user manager";
    mainProgram = "claude-vm-ctl";
  };
}
