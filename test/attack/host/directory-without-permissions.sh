# QEMU leaves a directory that cannot be entered in its runtime directory.
# Must: it is removed at the end, and the VM can start again.
# VM: taken
### qemu
mkdir -p a/b && touch a/b/c && chmod 0 a/b && chmod 0 a
### host
stopped
[ ! -e "$XDG_RUNTIME_DIR/claude-vm/$ID" ]
