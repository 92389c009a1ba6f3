# virtiofsd makes a setuid file in the work directory.
# Must: refused by its seccomp filter.
# VM: taken
### virtiofsd
cp /bin/true "/home/dev/share/work/$NAME"
fails chmod 4755 "/home/dev/share/work/$NAME"
