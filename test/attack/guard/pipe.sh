# The guest puts a pipe in place of a file that the guard reads.
# Must: the guard does not hang, and tells of it.
### claude
mkdir "$NAME" && mkfifo "$NAME/Makefile" "$NAME/.envrc"
### host
timeout 60 claude-vm-ctl guard | has "$NAME/.envrc"
rm -r "$NAME"
