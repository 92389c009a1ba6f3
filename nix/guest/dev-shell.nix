# The variables that "nix develop" sets for a shell, in the format of /etc/environment:
# the environment of the shell's builder, without variables that only matter for builds.
{ shell }:
shell.overrideAttrs (old: {
  name = "${old.name or shell.name}-environment";
  # Not the shell's own phases, which may fail on purpose because a shell is not meant to
  # be built.
  phases = [ "buildPhase" ];
  shellHook = "";
  buildPhase = ''
    env -0 | sort -z | while IFS= read -rd "" line; do
      name=''${line%%=*} value=''${line#*=}
      case $name in
      HOME | PWD | OLDPWD | SHLVL | _ | TERM | TZ | SHELL | TMP* | TEMP* | XDG_DATA_DIRS | *SSL_CERT_FILE) continue ;;
      NIX_BUILD* | NIX_LOG_FD | NIX_ENFORCE* | NIX_STORE | SOURCE_DATE_EPOCH | CONFIG_SHELL | HOST_PATH | GZIP_NO_TIMESTAMPS) continue ;;
      builder | buildPhase | phases | name | out | outputs | shell | shellHook | system | stdenv | patches) continue ;;
      *Inputs | *Flags | *Path | deps* | do*Check | preferLocalBuild | strictDeps | __structuredAttrs) continue ;;
      esac
      case $value in
      "") ;;
      *$'\n'*) echo "ignoring $name: its value has several lines" >&2 ;;
      *) printf '%s="%s"\n' "$name" "$value" ;;
      esac
    done >$out
  '';
})
