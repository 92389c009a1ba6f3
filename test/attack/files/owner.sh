# Root in the guest makes files that belong to another user, which the user cannot remove.
# Must: all files belong to the user.
### root
mkdir "$NAME" && touch "$NAME/root"
chown 0:0 "$NAME/root" 2>/dev/null || :
fails chown 33:33 "$NAME/root"
### claude
touch "$NAME/claude" 2>/dev/null || :
### host
[ -z "$(find . ! -user dev)" ] && [ -z "$(find . ! -group dev)" ]
rm -r "$NAME"
