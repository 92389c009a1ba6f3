# Programs, units, generator, man pages and completions, as make install puts
# them, for one guest bundle, QEMU and virtiofsd.
{
  lib,
  stdenvNoCC,
  scdoc,
  # QEMU as NixOS tests have it: no GUI, one architecture, and, other than an override
  # of ours, in the binary cache.
  qemu_test,
  virtiofsd,
  programs,
  guest,
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
      # For make to see that the programs are newer.
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
  ];

  # An interpreter of the store would be no more reproducible than NixOS's /bin/sh.
  dontPatchShebangs = true;

  passthru = { inherit guest programs; };

  meta = programs.meta // {
    description = "Claude Code in a throw-away microVM, owned by systemd's user manager";
    mainProgram = "claude-vm-ctl";
  };
}
