# The Go programs of the host and the guest. Their Go modules are vendored once. The
# guest's agent does not contain the version, so that the guest is not built again for
# every commit.
{
  lib,
  buildGoModule,
  version,
}:
let
  inherit (lib) fileset;
  isGo = file: file.hasExt "go";
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
          # Embedded by internal/hide and internal/policy.
          ../internal/hide/groups
          ../internal/policy/groups
        ]
      );
    };

  common = {
    vendorHash = lib.trim (lib.readFile ./vendor-hash);
    # The default name contains the version, so that the modules would be downloaded
    # again for each version.
    overrideModAttrs = _: _: { name = "claude-vm-go-modules"; };
    # Static binaries: the guest may have no dynamic linker. No program needs cgo.
    env.CGO_ENABLED = 0;
    # The tests need a systemd user manager, which is not available in a build. Run them
    # with scripts/test.
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
      # All Go files, so that the vendored modules, and with them vendorHash, are those of
      # "go mod vendor" in a checkout.
      src = source [
        (fileset.fileFilter isGo ../.)
        ../templates
      ];
      subPackages = [
        "cmd/claude-vm-ctl"
        "cmd/claude-vm-gateway"
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
          (fileset.fileFilter (file: isGo file && !lib.hasSuffix "_test.go" file.name) ../guest)
          (fileset.fileFilter (file: isGo file && !lib.hasSuffix "_test.go" file.name) ../internal)
        ];
        subPackages = [
          "guest/agent"
          "guest/initrd"
        ];
        ldflags = [
          "-s"
          "-w"
        ];
      }
    )).overrideAttrs
      { inherit (host) goModules; };
}
