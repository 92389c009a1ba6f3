# virtiofsd makes a user namespace, as it may, and removes in it what hides and protects files.
# Must: the mounts are locked there; what they cover cannot be reached.
# VM: taken
### virtiofsd
unshare --user --map-root-user --mount true
cat >unmount.sh <<'END'
cd /home/dev/share/work
umount .env && exit 0
umount -l locked && exit 0
umount -R -l /home/dev/share/work && exit 0
mkdir -p /tmp/elsewhere
mount --bind . /tmp/elsewhere && cat /tmp/elsewhere/.env | grep -q SECRET && exit 0
mount --rbind . /tmp/elsewhere && mount -o remount,bind,rw /tmp/elsewhere/locked && exit 0
exit 1
END
fails unshare --user --map-root-user --mount sh unmount.sh
