# Root in the guest makes a setuid copy of a shell in the work directory.
# Must: the host has no setuid file, which would be one of the user.
### root
cp /bin/sh "$NAME" && chmod 755 "$NAME"
fails chmod 4755 "$NAME" 2>&1
fails chmod 2755 "$NAME" 2>&1
### host
[ -x "$NAME" ] && [ ! -u "$NAME" ] && [ ! -g "$NAME" ]
