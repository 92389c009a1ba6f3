# Something of the host leaves a secret in the directory that the guest sees.
# Must: no file of it, nor of the runtime directory that QEMU sees, has the API key.
### host
fails grep -rqs -D skip "$KEY" .
fails grep -rqs -D skip "$KEY" "$XDG_RUNTIME_DIR/claude-vm/$ID"
[ "$(stat -c %a "$XDG_RUNTIME_DIR/claude-vm/.$ID.secrets")" = 600 ]
