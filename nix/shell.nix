# What the Makefile and scripts need.
{
  lib,
  mkShellNoCC,
  cpio,
  erofs-utils,
  fish,
  go,
  jq,
  mmdebstrap ? null,
  nixfmt-rfc-style,
  nodejs,
  qemu_test,
  scdoc,
  shellcheck,
  shfmt,
  virtiofsd,
  zsh,
  zstd,
}:
mkShellNoCC {
  packages = [
    cpio
    erofs-utils
    fish
    go
    jq
    nixfmt-rfc-style
    nodejs
    qemu_test
    scdoc
    shellcheck
    shfmt
    virtiofsd
    zsh
    zstd
  ]
  ++ lib.optional (mmdebstrap != null) mmdebstrap;
}
