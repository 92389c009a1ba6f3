# The guest makes a directory that git takes for a repository, because it has HEAD, objects and refs.
# Must: the user is told.
### claude
mkdir -p "$NAME/docs/objects" "$NAME/docs/refs" && echo 'ref: refs/heads/a' >"$NAME/docs/HEAD"
printf '[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = touch /tmp/evil\n' >"$NAME/docs/config"
### host
git -C "$NAME/docs" rev-parse --git-dir >/dev/null
reported docs
