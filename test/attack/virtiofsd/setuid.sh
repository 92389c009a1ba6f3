# virtiofsd makes a setuid file in the work directory.
# Must: refused by its seccomp filter.
# VM: taken
### virtiofsd
cp /bin/true "/home/dev/share/work/$NAME"
fails chmod 4755 "/home/dev/share/work/$NAME"
fails python3 -c 'import os, sys
f = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o4755)
os.link("/proc/self/fd/%d" % f, sys.argv[2], dst_dir_fd=os.open(sys.argv[1], os.O_PATH), follow_symlinks=True)' /home/dev/share/work "$NAME-linked"
[ ! -e "/home/dev/share/work/$NAME-linked" ]
