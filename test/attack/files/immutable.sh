# Root in the guest makes a file immutable, so that the user cannot remove it.
# Must: refused.
### root
touch "$NAME"
fails python3 -c 'import fcntl, struct, sys; fcntl.ioctl(open(sys.argv[1]), 0x40086602, struct.pack("l", 0x10))' "$NAME"
### host
rm "$NAME"
