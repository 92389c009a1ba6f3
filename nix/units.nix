# Runs the user generator at build time. The output is what it would write for these
# files at the login of this user. systemd does not search the home directory for
# generators, so Home Manager cannot install one.
{
  runCommandLocal,
  programs,
  # A directory with .vm files, and the path where it will be installed.
  files,
  place,
  # Environment variables of the user: HOME, USER and XDG_*.
  environment,
}:
runCommandLocal "claude-vm-units" { env = environment; } ''
  ${./generate} ${programs}/bin/claude-vm-generator ${files} ${place} $out
''
