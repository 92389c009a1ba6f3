# Root in the guest mounts the share a second time, to find more than the work directory. (The kernel shows the
# root of the share or, because they have the same connection, a directory in it.)
# Must: only what is shared, which stays protected; nothing can be put beside it.
### host
echo SECRET >~/attack-secret
### root
mkdir -p /mnt/again && mount -t virtiofs share /mnt/again
[ -n "$(ls -A /mnt/again)" ]
touch /mnt/again/beside || :
grep -rs SECRET /mnt/again | hasnot SECRET
find /mnt/again -name 'attack-*' | hasnot attack-secret
mount -o remount,rw /mnt/again
touch /mnt/again/beside || :
umount /mnt/again
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm-virtiofsd@$ID.service")
[ "$(ls "/proc/$pid/root/" | grep -v -x -e work -e claude)" = '' ]
find locked .git/hooks .git/config .vscode -name beside | hasnot beside
find . -name beside -delete
