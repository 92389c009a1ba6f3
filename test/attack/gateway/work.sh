# The gateway reads the work directory.
# Must: it is not there.
# VM: taken
### host
echo mine >"$NAME"
### gateway
fails cat "$WORK/$NAME"
