# Root in the guest moves what is read-only away, or something else in its place.
# Must: refused.
### root
mkdir -p "$NAME"
fails mv locked away
fails mv --exchange "$NAME" locked
fails mv locked/deep "$NAME/deep"
fails rm -rf locked
fails mv -T "$NAME" locked
### host
[ "$(cat locked/deep/file)" = host ]
