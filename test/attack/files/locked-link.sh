# Root in the guest writes to a read-only file by another name of it.
# Must: no hard link to it can be made.
### root
ln plain "$NAME-control" && rm "$NAME-control"
fails ln locked/deep/file "$NAME"
ln -s locked/deep/file "$NAME-link"
fails sh -c 'echo evil >"$0-link"' "$NAME"
### host
[ "$(cat locked/deep/file)" = host ] && rm "$NAME-link"
