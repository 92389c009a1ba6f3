# Root in the guest sends hundreds of malformed frames: short, long, random, of all protocols.
# Must: the gateway survives.
# Slow.
### host
systemctl --user show --value -p MainPID "claude-vm-gateway@$ID.service" >"$XDG_RUNTIME_DIR/gateway"
### root
raw noise 400
fetch http://example.com/ | has 'example.com at'
### host
[ "$(systemctl --user show --value -p MainPID "claude-vm-gateway@$ID.service")" = "$(cat "$XDG_RUNTIME_DIR/gateway")" ]
