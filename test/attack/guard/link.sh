# The guest puts a link in place of a directory that an editor obeys; its files have other names.
# Must: the user is told.
### claude
mkdir -p "$NAME/data" && echo '{}' >"$NAME/data/tasks.json" && ln -s data "$NAME/.vscode"
### host
reported .vscode
