# Root in the guest reports that Claude has exited, is ready or runs another program, with escape sequences.
# Must: the VM keeps running, and status prints none.
### root
port=/dev/$(basename "$(dirname "$(grep -l status /sys/class/virtio-ports/*/name)")")
printf 'STATUS=red \033[31m \033]0;title\007 end\nREADY=1\nMAINPID=1\nSTATUS=\302\233x\n' >"$port" || [ "$?" != 0 ]
### host
for verb in 'status -n0' list 'list --json'; do
	claude-vm-ctl $verb >"$XDG_RUNTIME_DIR/out"
	fails grep -q -e "$(printf '\033')" -e "$(printf '\302\233')" "$XDG_RUNTIME_DIR/out"
done
systemctl --user is-active --quiet "claude-vm@$ID.service"
