# What the user generator would write for these files at the login of this user. A
# home has no place for generators, so it runs now.
{
  runCommandLocal,
  programs,
  # A directory, and where it will be.
  files,
  place,
  # The user's.
  environment,
}:
runCommandLocal "claude-vm-units" { env = environment; } ''
  ${./generate} ${programs}/bin/claude-vm-generator ${files} ${place} $out
''
