# The guest puts a link to a device or a private file in place of a file that the guard reads.
# Must: the guard reads the link only.
### claude
mkdir "$NAME" && ln -s /dev/zero "$NAME/Makefile" && ln -s /home/dev/.ssh "$NAME/.husky"
### host
timeout 60 claude-vm-ctl guard | has "$NAME/Makefile"
rm -r "$NAME"
