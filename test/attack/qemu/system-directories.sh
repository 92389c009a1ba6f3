# QEMU looks for sockets and data of the system in /run, /var, /srv, /mnt, /media and /tmp.
# Must: they have nothing but what the unit binds.
# VM: taken
### qemu
[ "$(ls /run)" = user ]
for dir in /var /srv /mnt /media; do
	[ "$(find "$dir" -type f -o -type s 2>/dev/null)" = '' ] || broken "$dir has files"
done
[ "$(ls -A /tmp)" = '' ]
fails ls /srv/git
