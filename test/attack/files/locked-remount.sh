# Root in the guest mounts things over read-only paths, unmounts them and mounts them again writable.
# Must: that changes the guest's view only.
### root
mount -t tmpfs none locked && echo evil >locked/file && umount locked
mount -o remount,rw "$WORK" 2>/dev/null || :
mkdir -p /mnt && mount --bind locked /mnt && mount -o remount,bind,rw /mnt
fails sh -c 'echo evil >/mnt/deep/file'
umount /mnt
### host
[ "$(find locked -type f -exec cat {} +)" = host ]
