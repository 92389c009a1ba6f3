# The guest hides planted files in a directory that the user cannot read.
# Must: the user is told of the directory.
### claude
plant dir/.envrc
chmod 0 "$NAME/dir"
### host
claude-vm-ctl guard | has "$NAME/dir"
chmod 700 "$NAME/dir" && rm -r "$NAME"
