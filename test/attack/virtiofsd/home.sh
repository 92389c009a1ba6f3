# virtiofsd reads files of the user that are not shared.
# Must: its home directory has only the shared directories.
# VM: taken
### host
echo mine >"$NAME"
echo SECRET >~/attack-secret
### virtiofsd
cat "/home/dev/share/work/$NAME" | has mine
[ "$(ls -A /home/dev)" = share ] && [ "$(ls -A /home/dev/share)" = work ]
fails cat /home/dev/attack-secret
fails cat "/home/dev/share/work/../../attack-secret"
