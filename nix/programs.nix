# The programs of the host, and the guest's. All is vendored once, and what the guest is
# made of does not change with every commit.
{
  lib,
  buildGoModule,
  version,
}:
let
  inherit (lib) fileset;
  isGo = file: file.hasExt "go" || file.hasExt "tmpl";
  source =
    files:
    fileset.toSource {
      root = ../.;
      fileset = fileset.unions (
        files
        ++ [
          ../go.mod
          ../go.sum
          # Embedded by internal/contract.
          ../internal/contract/ssh-ports
          ../internal/contract/version
        ]
      );
    };

  common = {
    vendorHash = lib.trim (lib.readFile ./vendor-hash);
    # Without the version, for which it would be downloaded again.
    overrideModAttrs = _: _: { name = "claude-vm-go-modules"; };
    # The guest's has no dynamic linker to rely on, and neither needs cgo.
    env.CGO_ENABLED = 0;
    # The tests need the manager of a user, which no build has: scripts/test.
    doCheck = false;
    meta = {
      homepage = "https://github.com/t0mpr1c3/claude-microvm";
      license = lib.licenses.mit;
      platforms = lib.platforms.linux;
    };
  };

  host = buildGoModule (
    common
    // {
      pname = "claude-vm-programs";
      inherit version;
      # All of it, for what is vendored is what a checkout would have.
      src = source [ (fileset.fileFilter isGo ../.) ];
      subPackages = [
        "cmd/claude-vm-ctl"
        "cmd/claude-vm-generator"
      ];
      ldflags = [
        "-s"
        "-w"
        "-X main.version=${version}"
      ];
    }
  );
in
{
  inherit host;
  agent =
    (buildGoModule (
      common
      // {
        pname = "claude-vm-agent";
        version = "0";
        src = source [
          (fileset.fileFilter (file: isGo file && !lib.hasSuffix "_test.go" file.name) ../guest/agent)
          (fileset.fileFilter (file: isGo file && !lib.hasSuffix "_test.go" file.name) ../internal)
        ];
        subPackages = [ "guest/agent" ];
        ldflags = [
          "-s"
          "-w"
        ];
      }
    )).overrideAttrs
      { inherit (host) goModules; };
}
