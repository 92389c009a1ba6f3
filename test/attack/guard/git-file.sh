# The guest makes a file .git that points git to a directory with its configuration.
# Must: the user is told.
### claude
mkdir -p "$NAME/a" && echo 'gitdir: ../b' >"$NAME/a/.git"
### host
reported a/.git
