# The guest reads another memory size, or the files of a core of QEMU.
# Must: QEMU dumps no core, and no guest memory in one.
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm@$ID.service")
grep -q 'Max core file size *0 *0 ' "/proc/$pid/limits"
tr '\0' ' ' <"/proc/$pid/cmdline" | has dump-guest-core=off
[ -n "$(awk '/Max file size/ && $4 != "unlimited"' "/proc/$pid/limits")" ]
