# The programs, for the host and for the guest, from one set of modules.
{
  lib,
  buildGoModule,
  version,
}:
let
  root = ../.;
  inherit (lib) fileset;

  # All that Go reads, and so what it vendors in a checkout; a change elsewhere
  # builds nothing anew.
  src = fileset.toSource {
    inherit root;
    fileset = fileset.unions [
      ../go.mod
      ../go.sum
      (fileset.fileFilter (file: file.hasExt "go" || file.hasExt "tmpl") root)
    ];
  };

  build =
    pname: subPackages:
    buildGoModule {
      inherit
        pname
        version
        src
        subPackages
        ;
      # Checked by scripts/lint, which also says what it must be.
      vendorHash = lib.trim (lib.readFile ./vendor-hash);
      # The guest's has no dynamic linker to rely on, and neither needs cgo.
      env.CGO_ENABLED = 0;
      ldflags = [
        "-s"
        "-w"
        "-X main.version=${version}"
      ];
      # The tests need the manager of a user, which no build has: scripts/test.
      doCheck = false;
      meta = {
        homepage = "https://github.com/t0mpr1c3/claude-microvm";
        license = lib.licenses.mit;
        platforms = lib.platforms.linux;
      };
    };
in
{
  host = build "claude-vm-programs" [
    "cmd/claude-vm-ctl"
    "cmd/claude-vm-generator"
  ];
  agent = build "claude-vm-agent" [ "guest/agent" ];
}
