# QEMU leaves links to directories of the user in its runtime directory, which is removed at the end.
# Must: what they point to stays.
# VM: taken
### host
mkdir -p ~/attack-kept && touch ~/attack-kept/file
### qemu
ln -sf /home/dev/attack-kept link
ln -sf /home/dev/attack-kept/file other
### host
stopped
[ -e ~/attack-kept/file ]
