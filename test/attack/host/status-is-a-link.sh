# QEMU puts a link to a file of the user in place of the file with the guest's status.
# Must: the file is neither read nor changed.
# VM: taken
### host
printf 'STATUS=the-secret\nEXIT_STATUS=77\n' >~/attack-status
### qemu
rm -f status && ln -sf /home/dev/attack-status status
### host
stopped
systemctl --user show "claude-vm@$ID.service" | hasnot the-secret
claude-vm-ctl status . 2>&1 | hasnot the-secret
