# QEMU tells systemd that another process of the user is the main process of its unit, which would be
# killed with it.
# Must: systemd ignores it.
# VM: taken
### host
systemctl --user show --value -p MainPID dbus.service
### qemu
read -r pid
datagram /run/user/1000/systemd/notify "MAINPID=$pid" || :
### host
sleep 0.5
main=$(systemctl --user show --value -p MainPID "claude-vm@$ID.service")
[ "$main" != "$(systemctl --user show --value -p MainPID dbus.service)" ] && tr '\0' ' ' <"/proc/$main/cmdline" | has qemu
