# QEMU writes escape sequences where the guest reports what Claude does.
# Must: they are not printed, but the rest of the line is.
# VM: taken
### qemu
printf 'STATUS=red \033[31m and \033]0;title\007 end\n' >status
### host
for verb in status list; do
	claude-vm-ctl $verb | grep -q "$(printf '\033')" && broken "$verb prints an escape sequence"
done
claude-vm-ctl status | has 'end'
