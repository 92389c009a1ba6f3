# What a shell of nix develop sets, as /etc/environment: what its builder would see,
# but for what belongs to building.
{ lib, shell }:
shell.overrideAttrs (old: {
  name = "${old.name or shell.name}-environment";
  # Not the shell's own, which may refuse to be built.
  phases = [ "buildPhase" ];
  shellHook = "";
  buildPhase = ''
    env -0 | sort -z | while IFS= read -rd "" line; do
      case ''${line%%=*} in
      HOME | PWD | OLDPWD | SHLVL | _ | TERM | TZ | SHELL | TMP* | TEMP* | NIX_BUILD* | NIX_LOG_FD | NIX_ENFORCE* | NIX_SSL_CERT_FILE | SSL_CERT_FILE | SOURCE_DATE_EPOCH) ;;
      builder | buildPhase | phases | name | out | outputs | shellHook | system | stdenv | *Inputs | *Path) ;;
      *)
        # One line each; others cannot be said there.
        case $line in
        *$'\n'*) echo "not a line: ''${line%%=*}" >&2 ;;
        *) printf '%s="%s"\n' "''${line%%=*}" "''${line#*=}" ;;
        esac
        ;;
      esac
    done >$out
  '';
})
