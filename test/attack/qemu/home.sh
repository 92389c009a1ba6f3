# QEMU reads files of the user.
# Must: it sees an empty home directory, on the host it is there.
# VM: taken
### host
echo SECRET >~/attack-secret
### qemu
fails cat /home/dev/attack-secret
[ -z "$(ls -A /home/dev)" ] && [ -z "$(ls -A /root 2>/dev/null)" ]
